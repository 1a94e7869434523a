"""What a Jenkins answers over HTTP, as it was recorded of version 2.463.

By default it is the stand-in that is held to it. A real one is by its address:

    JENKINS_URL=http://127.0.0.1:8080/ JENKINS_USER=svc JENKINS_TOKEN=11... .venv/bin/pytest tests/contract/jenkins

It should be one of its own, without nodes and with 0 executors on the controller, anonymous access off, and (for
test_pipelines.py) the plugins workflow-job, workflow-cps and workflow-durable-task-step; the user may do everything.
What the tests make there they take away again. Some tests start and end a Jenkins themselves, by default the stand-in;
with

    JENKINS_COMMAND='masters/image/start --war jenkins.war'

they start that, with the environment of a master (masters/names.py).
"""
