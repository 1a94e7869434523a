"""What the init scripts do to a Jenkins, and what they tell the scheduler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.masters.image.conftest import TIMEOUT_S, TOKEN, Scheduler, StartJenkins
from tests.integration.zookeeper.clients import until

MASTER = "/v1/tenants/payments/master"
DEMAND = "/v1/demand"
BUILDABLE = (
    "new Queue.BuildableItem(id: %d, inQueueSince: 5, task: new Queue.Task(fullDisplayName: 'part of pl #1', "
    "url: 'job/pl/1/'), assignedLabel: new Queue.Label(expression: 'docker&&mesos'))"
)
ASKED = "Jenkins.get().actions.find { it.urlName == 'butlery' }"
DISPATCHER = "Jenkins.get().getExtensionList(hudson.model.queue.QueueTaskDispatcher)[0]"
LISTENER = "Jenkins.get().getExtensionList(hudson.model.queue.QueueListener)[0]"


def test_a_fresh_jenkins_runs_no_builds_and_is_secured(start: StartJenkins) -> None:
    jenkins = start()
    jenkins.ready()
    assert jenkins("Jenkins.get().numExecutors") == 0
    assert jenkins("JenkinsLocationConfiguration.get().url") == "http://payments.localhost:8082/"
    assert jenkins("[Jenkins.get().securityRealm.class.simpleName, Jenkins.get().securityRealm.allowsSignup]") == [
        "HudsonPrivateSecurityRealm",
        False,
    ]
    strategy = "Jenkins.get().authorizationStrategy"
    assert jenkins(f"[{strategy}.class.simpleName, {strategy}.allowAnonymousRead]") == [
        "FullControlOnceLoggedInAuthorizationStrategy",
        False,
    ]
    details = "User.getById('%s', false).getProperty(hudson.security.HudsonPrivateSecurityRealm.Details)"
    assert jenkins(f"{details % 'admin'}.isPasswordCorrect('correct horse')") is True
    assert jenkins(f"{details % 'butlery'}.password.length() > 40") is True
    assert jenkins("Jenkins.get().saved > 0") is True
    assert "correct horse" not in "".join(jenkins.output)
    asked = "Jenkins.get().actions.find { it.urlName == 'butlery' }"  # of a tenant without a place for backups
    assert jenkins(f"[{asked}.doBackup('first').status, {asked}.doBackups().text]") == [409, "[]"]


def test_rights_are_a_matrix_where_the_plugin_is_there(start: StartJenkins, matrix_classes: Path, home: Path) -> None:
    jenkins = start(more=matrix_classes)
    jenkins.ready()
    expected = {
        "GROUP:authenticated": [
            "Item.BUILD",
            "Item.CANCEL",
            "Item.READ",
            "Item.WORKSPACE",
            "Jenkins.READ",
            "View.READ",
        ],
        "USER:admin": ["Jenkins.ADMINISTER"],
        "USER:butlery": ["Jenkins.ADMINISTER"],
    }
    assert jenkins("Jenkins.get().authorizationStrategy.granted") == expected
    (home / ".butlery/full-control").touch()  # the plugin is installed later
    full = "new hudson.security.FullControlOnceLoggedInAuthorizationStrategy()"
    jenkins = start(f"Jenkins.get().authorizationStrategy = {full}", matrix_classes)
    jenkins.ready()
    assert jenkins("Jenkins.get().authorizationStrategy.granted") == expected


def test_what_configuration_as_code_has_set_stays(start: StartJenkins) -> None:
    own = (
        "class Ldap extends hudson.security.SecurityRealm {}\n"
        "class Roles extends hudson.security.AuthorizationStrategy {}\n"
        "Jenkins.get().securityRealm = new Ldap(); Jenkins.get().authorizationStrategy = new Roles()"
    )
    jenkins = start(own)
    jenkins.ready()
    names = "[Jenkins.get().securityRealm, Jenkins.get().authorizationStrategy]*.class*.simpleName"
    assert jenkins(names) == ["Ldap", "Roles"]
    assert jenkins("User.ALL.keySet()") == ["butlery"]


def test_a_jenkins_that_cannot_be_secured_does_not_run(start: StartJenkins) -> None:
    jenkins = start("Jenkins.get().metaClass.save = { -> throw new IllegalStateException('the disk is full') }")
    assert jenkins.process.wait(TIMEOUT_S) == 1
    assert jenkins._lines.get(timeout=TIMEOUT_S)
    assert "ready\n" not in jenkins.output


def test_its_access_is_made_once_and_handed_over_until_it_is_taken(
    start: StartJenkins, scheduler: Scheduler, home: Path
) -> None:
    scheduler.answers[MASTER] = [503, 404, 204]
    jenkins = start()
    jenkins.ready()
    assert MASTER not in scheduler.requests  # before it serves requests
    jenkins.complete()
    told = scheduler.wait(MASTER, 3)
    assert len(set(told)) == 1
    method, authorization, body = told[0]
    assert (method, authorization) == ("PUT", f"Bearer {TOKEN}")
    kept = home / "secrets/butlery-api-token"
    token = kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(body) == {
        "url": "http://payments.localhost:8082/",
        "direct_url": "http://10.0.0.7:31000/",
        "user": "butlery",
        "api_token": token,
        "version": "2.463",
        "session": "bd191592",
    }
    tokens = "User.getById('butlery', false).getProperty(jenkins.security.ApiTokenProperty).tokenStore.tokens"
    assert jenkins(f"{tokens}*.plain == [new File('{kept}').text]") is True
    until(lambda: any("knows how to speak" in line for line in jenkins.output), "what it says at last")
    assert "answers 503" in "".join(jenkins.output)
    assert token not in "".join(jenkins.output)
    assert "hunter2" not in "".join(jenkins.output)

    known = (
        "def tokens = new jenkins.security.ApiTokenProperty(); tokens.tokenStore.tokens << new "
        "jenkins.security.ApiTokenProperty.HashedToken(uuid: 'u1', name: \"the scheduler's\", plain: '%s'); "
        "User.getById('butlery', true).addProperty(tokens)"
    )
    for plain, same in ((token, True), ("11" + "0" * 32, False)):  # of a home that was restored without its secrets
        again = start(known % plain)
        again.ready()
        assert again(f"{tokens}*.plain == [new File('{kept}').text]") is True
        assert (kept.read_text() == token) is same


def test_a_jenkins_that_butlery_did_not_start_tells_its_own_address(start: StartJenkins, scheduler: Scheduler) -> None:
    own = "JenkinsLocationConfiguration.get().url = 'https://jenkins.example/'"
    jenkins = start(own, BUTLERY_ROOT_URL="", HOST="", PORT0="")
    jenkins.ready()
    jenkins.complete()
    told = json.loads(scheduler.wait(MASTER, 1)[0][2])
    assert (told["url"], told["direct_url"]) == ("https://jenkins.example/", None)


def test_demand_comes_in_order_and_is_tried_until_it_is_taken(start: StartJenkins, scheduler: Scheduler) -> None:
    scheduler.answers[DEMAND] = [503, 429, 401, 200]
    jenkins = start()
    jenkins.ready()
    jenkins(f"Queue.instance.waiting << {BUILDABLE % 1}; Queue.instance.waiting << new Queue.Item(id: 2); 0")
    jenkins.complete()
    posts = scheduler.wait(DEMAND, 4)
    assert len(set(posts)) == 1
    assert posts[0][:2] == ("POST", f"Bearer {TOKEN}")
    ready, waiting = (json.loads(line) for line in posts[0][2].splitlines())
    assert (ready["event"], ready["session"], ready["seq"], waiting["seq"]) == ("ready", "bd191592", 1, 2)
    assert {key: waiting[key] for key in ("event", "item", "task", "label", "in_queue_since_ms", "fits")} == {
        "event": "buildable",
        "item": 1,
        "task": "part of pl #1",
        "label": "docker&&mesos",
        "in_queue_since_ms": 5,
        "fits": True,
    }
    begun = len(scheduler.requests[DEMAND])
    unit = "currentWorkUnit: [context: [item: [id: 7, inQueueSince: 5]]]"
    run = (
        "run = new Run(parent: new Job(fullName: 'pl'), number: 1, url: 'job/pl/1/', queueId: 7, duration: 9, "
        f"executor: new Executor(owner: new Computer(name: 'butlery-1'), {unit}), result: 'SUCCESS')"
    )
    runs = "Jenkins.get().getExtensionList(hudson.model.listeners.RunListener)[0]"
    one = "Jenkins.get().getExtensionList(ExecutorListener)[0]"
    task = "new Queue.Task(fullDisplayName: 'fs', url: 'job/fs/')"
    flyweight = "new Queue.BuildableItem(id: 8, task: new Flyweight(fullDisplayName: 'pl', url: 'job/pl/'))"
    jenkins(
        "class Flyweight extends Queue.Task implements Queue.FlyweightTask {}; "
        f"{LISTENER}.onEnterBuildable({flyweight}); "
        f"{one}.onOnline(new Computer(name: 'butlery-1'), null); {one}.onOnline(new Computer(name: 'own'), null); "
        f"{LISTENER}.onEnterBuildable({BUILDABLE % 7}); {LISTENER}.onLeft(new Queue.LeftItem(id: 7, cancelled: false, "
        f"task: {task})); {run}; {one}.taskAccepted(run.executor, {task}); {runs}.onStarted(run, null); "
        f"{one}.taskCompletedWithProblems(run.executor, {task}, 5, new IOException('gone')); {runs}.onFinalized(run); "
        f"{one}.onOffline(new Computer(name: 'butlery-1'), null); 0"
    )
    expected = ["online", "buildable", "left", "accepted", "started", "served", "finished", "offline"]

    def rest() -> list[dict[str, Any]]:
        return scheduler.records(len(scheduler.requests[DEMAND]))[2 * begun :]

    until(lambda: len(rest()) >= len(expected), "the records")
    told = {record["event"]: record for record in rest()}
    assert [record["event"] for record in rest()] == expected
    assert [record["seq"] for record in rest()] == list(range(3, 3 + len(expected)))
    assert {record["session"] for record in rest()} == {"bd191592"}
    assert told["served"]["problem"] == "java.io.IOException: gone"
    assert (told["accepted"]["item"], told["accepted"]["in_queue_since_ms"]) == (7, 5)
    assert (told["finished"]["result"], told["finished"]["queue_item"], told["finished"]["node"]) == (
        "SUCCESS",
        7,
        "butlery-1",
    )
    assert jenkins("run.executor.owner.acceptingTasks") is False
    for name in ("own", "butlery-2-pooled"):
        assert jenkins(
            f"other = new Executor(owner: new Computer(name: '{name}')); {one}.taskAccepted(other, {task}); "
            f"{one}.taskCompleted(other, {task}, 5); other.owner.acceptingTasks"
        )
    until(lambda: rest()[-1]["node"] == "butlery-2-pooled", "its end")
    assert jenkins(f"{LISTENER}.demand.records.size()") == 0


def test_silence_is_told_too(start: StartJenkins, scheduler: Scheduler) -> None:
    jenkins = start()
    jenkins.ready()
    jenkins(f"{LISTENER}.demand.class.ALIVE_MS = 100; 0")
    jenkins.complete()
    events = [(record["event"], record["seq"]) for record in scheduler.records(3)]
    assert events == [("ready", 1), ("alive", 2), ("alive", 3)]


def test_the_queue_shows_why_no_agent_comes(start: StartJenkins, scheduler: Scheduler, tmp_path: Path) -> None:
    reason = "no template is for 'docker&&mesos'"
    unserved = [{"item": {"number": number, "since_ms": 5}, "reason": reason} for number in (1, 2, 99)]
    scheduler.texts[DEMAND] = json.dumps({"taken": 2, "unserved": unserved})
    scheduler.answers[DEMAND] = [200]
    jenkins = start()
    jenkins.ready()
    log = tmp_path / "log"
    jenkins(
        f"class Step extends Queue.Task {{ Run runForDisplay() {{ new Run(logFile: new File('{log}')) }} }}; "
        f"item = {BUILDABLE % 1}; other = {BUILDABLE % 2}; other.inQueueSince = 6; item.task = new Step(); "
        "Queue.instance.waiting.addAll([item, other]); 0"
    )
    assert jenkins(f"{DISPATCHER}.canRun(item)") is None
    jenkins.complete()
    until(lambda: jenkins("Queue.instance.maintained") >= 1, "a look at the queue")
    assert jenkins(f"{DISPATCHER}.canRun(item).shortDescription") == reason
    assert jenkins(f"{DISPATCHER}.canRun(other)") is None  # another item of that number
    assert log.read_text() == f"[butlery] no agent comes: {reason}\n"
    may_read = "hudson.security.ACL.as2(hudson.security.ACL.SYSTEM2)"  # as an administrator may
    listed = json.loads(jenkins(f"{may_read}; {ASKED}.doQueue().text"))
    assert (listed["session"], [(one["item"], one["buildable"]) for one in listed["items"]]) == (
        "bd191592",
        [(1, True), (2, True)],
    )
    assert listed["items"][0]["label"] == "docker&&mesos"
    jenkins("item.assignedLabel.nodes << new Node(); other.assignedLabel = null; 0")
    assert jenkins(f"{DISPATCHER}.canRun(item)") is None  # Jenkins has a node for it after all
    jenkins("item.assignedLabel.nodes.clear(); 0")
    assert jenkins(f"{DISPATCHER}.canRun(item) != null") is True
    assert jenkins(f"{DISPATCHER}.shown.each {{ it.value.until = 1L }}; {DISPATCHER}.canRun(item)") is None


def test_a_build_is_told_why_its_agent_ended_and_built_again(start: StartJenkins, tmp_path: Path) -> None:
    jenkins = start()
    jenkins.ready()
    log = tmp_path / "log"
    runs = "Jenkins.get().getExtensionList(hudson.model.listeners.RunListener)[0]"
    jenkins(
        "class Project extends hudson.model.Job { List scheduled = []; "
        "Object scheduleBuild2(int quiet, Action... actions) { scheduled << (actions as List); actions } }; "
        f"run = new AbstractBuild(parent: new Project(fullName: 'fs'), number: 3, logFile: new File('{log}'), "
        "building: true, executor: new Executor(owner: new Computer(name: 'butlery-1'))); "
        f"run.actions << new ParametersAction(); {runs}.onStarted(run, null); 0"
    )
    assert jenkins(f"{ASKED}.doTell('butlery-2', 'gone', true).status") == 404
    assert jenkins(f"{ASKED}.doTell('butlery-1', 'host h1\\nis lost', true).status") == 200
    assert log.read_text() == "[butlery] host h1 is lost\n[butlery] it is built again\n"
    first = "run.parent.scheduled[0]"
    assert jenkins(f"[{first}*.class*.simpleName, {first}[0].causes[0].addr, {first}[0].causes[0].note]") == [
        ["CauseAction", "ParametersAction"],
        "butlery",
        "#3 was lost, 1 of at most 2 times that it is built again: host h1 is lost",
    ]
    # What is built again carries the causes before; the third loss is the last.
    jenkins(f"run.actions.addAll({first}); {ASKED}.doTell('butlery-1', 'lost', true); 0")
    jenkins(f"run.actions = run.parent.scheduled[1]; {ASKED}.doTell('butlery-1', 'lost', true); 0")
    assert jenkins("run.parent.scheduled*.get(0)*.causes*.size()") == [1, 2]
    assert log.read_text().endswith("[butlery] lost 3 times now: it is not built again\n")
    for state in ("run.building = false; run.result = Result.ABORTED", "run.result = Result.SUCCESS"):
        jenkins(f"{state}; run.actions = []; {ASKED}.doTell('butlery-1', '', true); 0")
    assert jenkins("run.parent.scheduled.size()") == 2
    # One that began before Jenkins last started, and a Pipeline's step.
    jenkins(
        "class Kept { Run runForDisplay() { run }; Run run }; class Part { Object parent }; "
        "Jenkins.get().computers['butlery-9'] = new Computer(name: 'butlery-9', executors: [new Executor(), "
        "new Executor(currentExecutable: new Part(parent: new Kept(run: run)))]); 0"
    )
    assert jenkins(f"{ASKED}.doTell('butlery-9', 'out of memory', false).status") == 200
    assert log.read_text().endswith("[butlery] out of memory\n")


def test_the_queue_and_the_schedulers_nodes_are_shown_at_once(start: StartJenkins) -> None:
    jenkins = start()
    jenkins.complete()
    jenkins(
        f"Queue.instance.waiting << {BUILDABLE % 9}; Jenkins.get().nodes.addAll([new Node(nodeName: 'by-hand'), "
        "new Node(nodeName: 'butlery-1', nodeDescription: 'butlery: agent'), "
        "new Node(nodeName: 'butlery-2', computer: new Computer(offline: false, idle: false))]); 0"
    )
    as_one_who_may = "hudson.security.ACL.as2(hudson.security.ACL.SYSTEM2)"
    shown = json.loads(jenkins(f"{as_one_who_may}; {ASKED}.doQueue().text"))
    assert shown["session"] == "bd191592"
    assert [(one["item"], one["label"], one["buildable"]) for one in shown["items"]] == [(9, "docker&&mesos", True)]
    assert shown["nodes"] == [
        {"name": "butlery-1", "description": "butlery: agent", "offline": True, "idle": True},
        {"name": "butlery-2", "description": "", "offline": False, "idle": False},
    ]


def test_a_scheduler_that_knows_of_no_demand_is_left_in_peace(start: StartJenkins, scheduler: Scheduler) -> None:
    scheduler.answers[DEMAND] = [404]
    jenkins = start()
    jenkins.ready()
    assert jenkins(f"{LISTENER}.demand.class.QUIET_MS") == 300_000
    jenkins(f"{LISTENER}.demand.class.QUIET_MS = 400; 0")
    jenkins.complete()
    scheduler.wait(DEMAND, 1)
    # More than it keeps, while nobody wants it: the end is known all the same.
    jenkins(
        f"10050.times {{ {LISTENER}.onEnterBuildable({BUILDABLE % 3}) }}; Queue.instance.waiting << {BUILDABLE % 9}; 0"
    )
    assert jenkins(f"{LISTENER}.demand.records.size() <= 10000") is True
    with scheduler.changed:
        came = len(scheduler.requests[DEMAND])
        scheduler.answers[DEMAND] = [404, 204]  # of which the first may be on its way since before that
    records = [json.loads(line) for line in scheduler.wait(DEMAND, came + 2)[-1][2].splitlines()]
    assert [(record["event"], record.get("item")) for record in records] == [("ready", None), ("buildable", 9)]
    assert "demand" not in "".join(line for line in jenkins.output if "WARNING" in line)


def test_backups_are_made_and_told_of_by_the_script(start: StartJenkins, home: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (home / "config.xml").write_text("<hudson/>")
    jenkins = start(BUTLERY_BACKUP_TO=str(tmp_path / "backups"))
    jenkins.ready()
    asked = "Jenkins.get().actions.find { it.urlName == 'butlery' }"
    for name in ("", "../x", "a/b", "-v", "a..b"):
        assert jenkins(f"{asked}.doBackup('{name}').status") == 400
    assert jenkins(f"{asked}.doBackup(null).status") == 400
    assert jenkins(f"{asked}.doBackup('first').status") == 202
    until(lambda: '"done"' in jenkins(f"{asked}.doBackups().text"), "the backup")
    (found,) = json.loads(jenkins(f"{asked}.doBackups().text"))
    assert (found["name"], found["state"], found["bytes"] > 0) == ("first", "done", True)
    assert jenkins("Jenkins.get().checked.unique()") == ["Jenkins.ADMINISTER"]
    routed = "doBackup.annotations.any { it.annotationType().simpleName == 'RequirePOST' }"
    assert jenkins(f"def doBackup = {asked}.class.getMethod('doBackup', String); {routed}") is True
    parameter = "getMethod('doBackup', String).parameterAnnotations[0][0].value()"
    assert jenkins(f"{asked}.class.{parameter}") == "name"
    assert not list((home / ".butlery").glob("backups*"))


def test_an_agent_that_is_sized_for_a_job_takes_no_other(start: StartJenkins) -> None:
    jenkins = start()
    jenkins.ready()
    jenkins(
        "computer = new Computer(idleStartMilliseconds: System.currentTimeMillis()); "
        "node = new Node(nodeName: 'butlery-1-1', computer: computer, "
        "nodeDescription: 'butlery: agent of task 1-1, sized for pay » nightly'); "
        "fitting = Jenkins.get().getExtensionList(hudson.model.queue.QueueTaskDispatcher)[1]; "
        "takes = { name -> fitting.canTake(node, new Queue.BuildableItem(task: new Queue.Task(fullDisplayName: name))) "
        "== null }; 0"
    )
    own = ("pay » nightly", "part of pay » nightly #17", "part of pay » nightly")
    assert [jenkins(f"takes('{name}')") for name in own] == [True, True, True]
    assert [jenkins(f"takes('{name}')") for name in ("pay » nightly 2", "part of other #2", "")] == [False] * 3
    jenkins("computer.idleStartMilliseconds = System.currentTimeMillis() - 61_000; 0")
    assert jenkins("takes('other')") is True  # rather than nothing
    jenkins("computer.idleStartMilliseconds = System.currentTimeMillis(); node.nodeName = 'own-1'; 0")
    assert jenkins("takes('other')") is True
    jenkins("node.nodeName = 'butlery-1-1'; node.nodeDescription = 'butlery: agent of task 1-1'; 0")
    assert jenkins("takes('other')") is True
