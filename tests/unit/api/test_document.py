"""The OpenAPI document and the page made of it."""

from __future__ import annotations

import re

import httpx


async def test_every_reference_leads_somewhere(http: httpx.AsyncClient) -> None:
    response = await http.get("/openapi.json")
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', response.text))
    assert named == set(response.json()["components"]["schemas"])


async def test_the_page_reads_well(http: httpx.AsyncClient) -> None:
    text = (await http.get("/docs")).text
    targets = set(re.findall(r'href="#([^"]+)"', text))
    assert targets <= set(re.findall(r'id="([^"]+)"', text))
    assert "?." not in text
