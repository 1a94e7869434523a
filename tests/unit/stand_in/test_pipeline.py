"""Pipeline scripts, read by the stand-in."""

from __future__ import annotations

import pytest

from tests.fakes.jenkins.pipeline import PipelineError, Step, Text, fill, parse


def plain(text: str) -> Text:
    return Text(text, filled=False)


def test_steps_and_blocks_are_read() -> None:
    script = """
    // first
    node('gpu && mesos') {
      sh 'make'; echo "on ${env.NODE_NAME}"
      stage("Test") {
        sh(script: '''a
b''', returnStatus: true)
      }
    } /* last */
    """
    assert parse(script) == [
        Step("node", plain("gpu && mesos"), body=[
            Step("sh", plain("make")),
            Step("echo", Text("on ${env.NODE_NAME}", filled=True)),
            Step("stage", Text("Test", filled=True), body=[
                Step("sh", named={"script": plain("a\nb"), "returnStatus": True}),
            ]),
        ])
    ]  # fmt: skip


def test_branches_are_read_with_and_without_parentheses() -> None:
    branches = {"a": [Step("echo", plain("1"))], "the b": [Step("node", body=[])]}
    for script in (
        "parallel a: { echo '1' }, 'the b': { node { } }",
        "parallel(a: { echo '1' },\n'the b': {node {\n}})",
    ):
        assert parse(script) == [Step("parallel", branches=branches)]


def test_a_declarative_one_becomes_steps() -> None:
    script = """
    pipeline {
      agent { label 'docker' }
      options { }
      environment { WHO = 'me' }
      stages {
        stage('Build') { steps { sh 'make' } }
        stage('Elsewhere') { agent { label 'gpu' }
          steps { timeout(time: 5, unit: 'SECONDS') { sh 'train' } } }
      }
    }
    """
    limited = Step("timeout", named={"time": 5, "unit": plain("SECONDS")}, body=[Step("sh", plain("train"))])
    stages = [
        Step("stage", plain("Build"), body=[Step("sh", plain("make"))]),
        Step("stage", plain("Elsewhere"), body=[Step("node", plain("gpu"), body=[limited])]),
    ]
    inner = [Step("withEnv", [Text("WHO=me", filled=True)], body=stages)]
    assert parse(script) == [Step("node", plain("docker"), body=inner)]


def test_a_declarative_one_may_take_any_agent_or_none() -> None:
    for agent, wanted in (("any", [Step("node", None, body=[])]), ("none", [])):
        assert parse(f"pipeline {{ agent {agent}\n stages {{ }} }}") == wanted


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("def x = 1", "line 1"),
        ("node('a') {\n  sh 'x'\n", "line 3"),
        ("\nnode('a'", "line 2"),
        ("deploy 'x'", "No such DSL method 'deploy'"),
        ("sh 'not ended", "line 1"),
        ("}", "line 1"),
        ("sh {", "line 1"),
        ("stage (", "unexpected end"),
        ("node {" * 20_000, "too deep"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(script: str, says: str) -> None:
    with pytest.raises(PipelineError, match=says):
        parse(script)


def test_names_are_filled_in_where_quotes_are_double() -> None:
    variables = {"NAME": "x", "N": "7"}
    assert fill(Text("$NAME-${N}-${env.NAME}-${params.N}-${other}!", filled=True), variables) == "x-7-x-7-!"
    assert fill(Text("$NAME", filled=False), variables) == "$NAME"
    (step,) = parse(r'''sh "echo \$HOME of $NAME"''')
    assert fill(step.argument, variables) == "echo $HOME of x"
    assert fill([Text("A=$N", filled=True), 3], variables) == ["A=7", 3]
