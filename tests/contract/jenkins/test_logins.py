"""Crumbs, cookies, tokens and passwords."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from masters.names import ADMIN_USER, Variable
from tests.contract.jenkins.client import FREESTYLE, Jenkins, new_name
from tests.contract.jenkins.conftest import Starter

PASSWORD = "correct horse"
XML = {"Content-Type": "application/xml"}
CONFIG = FREESTYLE.format(properties="", label="", roams="true", concurrent="true", command="true")


def test_the_login_page_makes_a_session_whose_cookie_is_of_this_start_and_this_path(jenkins: Jenkins) -> None:
    with jenkins.browser() as browser:
        page = browser.get(f"{jenkins.url}login", timeout=20)
        cookie = next(one for one in browser.cookies if one.name.startswith("JSESSIONID."))
        assert re.fullmatch(r"JSESSIONID\.[0-9a-f]{8}", cookie.name)
        assert cookie.path == (urlsplit(jenkins.url).path.rstrip("/") or "/")
        assert page.status_code == 200


def test_an_api_token_needs_no_crumb(jenkins: Jenkins) -> None:
    name = new_name("token")
    assert jenkins.post(f"createItem?name={name}", data=CONFIG, headers=XML).status_code == 200
    answer = jenkins.post(f"job/{name}/doDelete")
    assert (answer.status_code, jenkins.location(answer)) == (302, "")


def test_a_password_needs_a_crumb_and_the_cookie_it_came_with(own_jenkins: Starter) -> None:
    started = own_jenkins({Variable.ADMIN_PASSWORD: PASSWORD})
    started.start()
    jenkins = Jenkins(started.url, (ADMIN_USER, PASSWORD))
    create = f"{jenkins.url}createItem?name="
    with jenkins.browser() as browser:
        browser.auth = jenkins.auth
        assert browser.post(f"{create}none", data=CONFIG, headers=XML, timeout=20).status_code == 403
        told = browser.get(f"{jenkins.url}crumbIssuer/api/json", timeout=20).json()
        assert re.fullmatch(r"[0-9a-f]{64}", told["crumb"])
        crumb = {told["crumbRequestField"]: told["crumb"]}
        assert browser.post(f"{create}both", data=CONFIG, headers={**XML, **crumb}, timeout=20).status_code == 200
    cookieless = jenkins.post("createItem?name=crumb", data=CONFIG, headers={**XML, **crumb})
    assert cookieless.status_code == 403
    assert "No valid crumb was included in the request" in cookieless.text


def test_a_wrong_token_is_refused_everywhere(jenkins: Jenkins) -> None:
    assert jenkins.auth is not None
    wrong = Jenkins(jenkins.url, (jenkins.auth[0], "110000000000000000000000000000000000"))
    for path in ("api/json", "login", "jnlpJars/agent.jar"):
        answer = wrong.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Jenkins"'
        assert answer.headers["Cache-Control"] == "must-revalidate,no-cache,no-store"
        assert "X-Jenkins" not in answer.headers
