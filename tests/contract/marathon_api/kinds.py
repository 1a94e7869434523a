"""JSON Schemas (draft 2020-12) of the bodies of Marathon's v2 API, as version 1.9 answers them.

Written from the types of Marathon's RAML (docs/v2 of mesosphere/marathon). They are those of answers: closed, without
nulls. ``directions`` makes of them what may be sent.
"""

from __future__ import annotations

from tests.contract.marathon_api.notation import (
    Schema,
    defaulted,
    demanding,
    either,
    extended,
    integer,
    number,
    one_of,
    record,
    several,
    table,
    text,
    words,
)

# Words and numbers.

NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SEGMENT = rf"(\.\.|({NAME}\.)*{NAME})"
ABSOLUTE_ID = rf"^/({_SEGMENT}(/{_SEGMENT})*)?$"
ANY_ID = rf"^/*({_SEGMENT}(/+{_SEGMENT})*/*)?$"

BOOLEAN: Schema = {"type": "boolean"}
COUNT = integer(0)
STRING = text()
PATH_ID = text(1, pattern=ABSOLUTE_ID)
INSTANCE_ID = text(pattern=r"^.+\.(instance-|marathon-)[^.]+$")
SHORT_NAME = text(1, 63, rf"^{NAME}$")
LEGACY_NAME = text(1, pattern=rf"^{NAME}$")
NETWORK_NAME = text(1, 63, r"^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$")
URI = PATH = text(1, 1024)
TIME = text(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$")
PORT = integer(1, 65535)
ANY_PORT = integer(0, 65535)
LABELS = table(STRING)
HTTP_SCHEME = one_of("HTTP", "HTTPS")
IP_PROTOCOL = one_of("IPv4", "IPv6")
PORT_PROTOCOL = one_of("tcp", "udp", "udp,tcp")
READ_MODE = one_of("RO", "RW")
TASK_STATE = one_of(
    *(
        f"TASK_{state}"
        for state in words(
            "ERROR FAILED FINISHED KILLED KILLING RUNNING STAGING STARTING UNREACHABLE UNKNOWN GONE DROPPED"
        )
    )
)
CONDITION = one_of(
    *words(
        "Error Failed Finished Killed Killing Running Staging Starting Unreachable UnreachableInactive Gone Dropped "
        "Unknown"
    )
)
GOAL = one_of("Running", "Stopped", "Decommissioned")
CONSTRAINT = several(STRING, minItems=2, maxItems=3)
IDENTIFIED = record(id=STRING)

# Of an app.

DOCKER = record(
    credential_=record(principal=STRING, secret_=STRING),
    pullConfig_=record(secret=text(1)),
    forcePullImage_=BOOLEAN,
    image=text(1),
    network_=one_of("BRIDGE", "HOST", "NONE", "USER"),
    parameters_=several(record(key=text(1), value=STRING)),
    portMappings_=several({"$ref": "#/$defs/PortMapping"}),
    privileged_=BOOLEAN,
)
PORT_MAPPING = defaulted(
    record(
        containerPort=ANY_PORT,
        hostPort_=ANY_PORT,
        labels_=LABELS,
        name_=LEGACY_NAME,
        protocol_=PORT_PROTOCOL,
        servicePort_=ANY_PORT,
        networkNames_=several(SHORT_NAME),
    ),
    "containerPort",
)
CSI_OPTIONS = record(
    pluginName=text(1),
    capability=record(
        accessMode=one_of(
            *words(
                "SINGLE_NODE_WRITER SINGLE_NODE_READER_ONLY MULTI_NODE_READER_ONLY MULTI_NODE_SINGLE_WRITER "
                "MULTI_NODE_MULTI_WRITER"
            )
        ),
        accessType=one_of("block", "mount"),
        fsType_=STRING,
        mountFlags_=several(STRING),
    ),
    nodeStageSecret_=LABELS,
    nodePublishSecret_=LABELS,
    volumeContext_=LABELS,
)
EXTERNAL = either(
    record(size_=COUNT, name_=STRING, provider_=STRING, options_=LABELS, shared_=BOOLEAN),
    record(name=STRING, provider=one_of("csi"), options=CSI_OPTIONS),
)
PERSISTENT = record(
    type_=one_of("root", "path", "mount"),
    size=COUNT,
    maxSize_=COUNT,
    profileName_=STRING,
    constraints_=several(CONSTRAINT, uniqueItems=True),
)
VOLUME = either(
    record(containerPath=text(1), persistent=PERSISTENT, mode=READ_MODE),
    record(containerPath=text(1), external=EXTERNAL, mode=READ_MODE),
    record(containerPath=text(1), secret=text(1)),
    record(containerPath=text(1), hostPath=text(1), mode=READ_MODE),
)
LINUX_INFO = record(
    seccomp_=defaulted(record(profileName_=STRING, unconfined=BOOLEAN), "unconfined"),
    ipcInfo_=record(mode=one_of("PRIVATE", "SHARE_PARENT"), shmSize_=number()),
)
CONTAINER = defaulted(
    record(
        type=one_of("MESOS", "DOCKER"),
        docker_=DOCKER,
        linuxInfo_=LINUX_INFO,
        volumes_=several(VOLUME),
        portMappings_=several({"$ref": "#/$defs/PortMapping"}),
    ),
    "type",
)
HEALTH_CHECK = record(
    command_=record(value=STRING),
    gracePeriodSeconds_=COUNT,
    ignoreHttp1xx_=BOOLEAN,
    intervalSeconds_=COUNT,
    maxConsecutiveFailures_=COUNT,
    path_=STRING,
    port_=ANY_PORT,
    portIndex_=ANY_PORT,
    protocol_=one_of("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS"),
    ipProtocol_=IP_PROTOCOL,
    timeoutSeconds_=integer(),
    delaySeconds_=COUNT,
)
CHECK = record(
    http_=record(portIndex_=ANY_PORT, port_=ANY_PORT, path_=PATH, scheme_=HTTP_SCHEME),
    tcp_=record(portIndex_=ANY_PORT, port_=ANY_PORT),
    exec_=record(command=either(record(shell=text(1)), record(argv=several(STRING, minItems=1)))),
    intervalSeconds_=COUNT,
    timeoutSeconds_=COUNT,
    delaySeconds_=COUNT,
)
READINESS_CHECK = record(
    name_=text(1),
    protocol_=HTTP_SCHEME,
    path_=PATH,
    portName_=LEGACY_NAME,
    intervalSeconds_=COUNT,
    timeoutSeconds_=integer(1),
    httpStatusCodesForReady_=several(integer(100, 999), uniqueItems=True, minItems=1),
    preserveLastResponse_=BOOLEAN,
)
READINESS_RESULT = record(
    name=STRING,
    taskId=INSTANCE_ID,
    ready=BOOLEAN,
    lastResponse_=record(status=integer(), contentType=STRING, body=STRING),
)
PORT_DEFINITION = record(port_=ANY_PORT, labels_=LABELS, name_=LEGACY_NAME, protocol_=PORT_PROTOCOL)
NETWORK = record(name_=NETWORK_NAME, mode_=one_of("container", "container/bridge", "host"), labels_=LABELS)
IP_ADDRESS = record(
    discovery_=record(
        ports_=several(record(number_=ANY_PORT, name=LEGACY_NAME, protocol_=PORT_PROTOCOL, labels_=LABELS))
    ),
    groups_=several(STRING, uniqueItems=True),
    labels_=LABELS,
    networkName_=text(1),
)
UNREACHABLE = either(one_of("disabled"), record(inactiveAfterSeconds_=COUNT, expungeAfterSeconds_=COUNT))
LIMIT = either(one_of("unlimited"), number())

APP = record(
    id=PATH_ID,
    acceptedResourceRoles_=several(STRING, uniqueItems=True),
    args_=several(STRING),
    backoffFactor_=number(1),
    backoffSeconds_=COUNT,
    cmd_=text(1),
    constraints_=several(CONSTRAINT, uniqueItems=True),
    container_=CONTAINER,
    cpus_=number(0.001),
    dependencies_=several(PATH_ID, uniqueItems=True),
    disk_=number(0),
    env_=table(either(STRING, record(secret=STRING))),
    executor_=text(pattern="^(//cmd)|(/?[^/]+(/[^/]+)*)|$"),
    executorResources_=record(cpus_=number(0.1), mem_=number(32), disk_=number(10)),
    fetch_=several(record(uri=URI, extract_=BOOLEAN, executable_=BOOLEAN, cache_=BOOLEAN, destPath_=PATH)),
    healthChecks_=several(HEALTH_CHECK, uniqueItems=True),
    check_=CHECK,
    instances_=COUNT,
    labels_=LABELS,
    maxLaunchDelaySeconds_=COUNT,
    mem_=number(0),
    gpus_=COUNT,
    ipAddress_=IP_ADDRESS,
    networks_=several(NETWORK),
    ports_=several(ANY_PORT),
    portDefinitions_=several(PORT_DEFINITION),
    readinessChecks_=several(READINESS_CHECK),
    residency_=record(
        relaunchEscalationTimeoutSeconds_=COUNT, taskLostBehavior_=one_of("WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT")
    ),
    resourceLimits_=record(cpus_=LIMIT, mem_=LIMIT),
    requirePorts_=BOOLEAN,
    secrets_=table(record(source=text(1))),
    taskKillGracePeriodSeconds_=COUNT,
    upgradeStrategy_=record(maximumOverCapacity=number(0, 1), minimumHealthCapacity=number(0, 1)),
    uris_=several(URI),
    user_=STRING,
    version_=TIME,
    versionInfo_=record(lastScalingAt=TIME, lastConfigChangeAt=TIME),
    killSelection_=one_of("YOUNGEST_FIRST", "OLDEST_FIRST"),
    unreachableStrategy_=UNREACHABLE,
    tty_=BOOLEAN,
    role_=text(1),
)
DEFAULTED = words(
    "backoffFactor backoffSeconds cpus disk executor instances labels maxLaunchDelaySeconds mem gpus networks "
    "requirePorts upgradeStrategy version versionInfo killSelection unreachableStrategy role"
)
"""What every app that is answered has: fields with a default, and those that the server gives."""
LEGACY = ("ipAddress", "ports", "uris")
"""What may be sent only, and is answered in today's form."""


def _shown(app: Schema) -> Schema:
    properties = {name: kind for name, kind in app["properties"].items() if name not in LEGACY}
    return demanding({**app, "properties": properties}, *DEFAULTED)


APP_SHOWN = _shown(APP)

# Tasks.

HEALTH = record(
    alive=BOOLEAN,
    consecutiveFailures=number(),
    firstSuccess_=STRING,
    instanceId=INSTANCE_ID,
    lastSuccess_=STRING,
    lastFailure_=STRING,
    lastFailureCause_=STRING,
)
CHECK_STATUS = record(
    http_=record(statusCode=COUNT), tcp_=record(succeeded=BOOLEAN), command_=record(exitCode=integer())
)
LOCAL_VOLUME = record(
    runSpecId=PATH_ID, containerPath=STRING, uuid=STRING, persistenceId=text(pattern="^[^#]+#[^#]+#[^#]+$")
)
TASK = record(
    appId=PATH_ID,
    healthCheckResults_=several(HEALTH),
    checkResult_=CHECK_STATUS,
    host=STRING,
    id=STRING,
    ipAddresses_=several(record(ipAddress=STRING, protocol=IP_PROTOCOL)),
    ports_=several(PORT),
    servicePorts_=several(PORT),
    slaveId_=STRING,
    state=TASK_STATE,
    stagedAt_=STRING,
    startedAt_=STRING,
    version_=STRING,
    localVolumes_=several(LOCAL_VOLUME),
    region_=STRING,
    zone_=STRING,
    role=STRING,
)
TASK_LIST = record(tasks=several(TASK))
TASK_SINGLE = record(task=TASK)
TASK_FAILURE = record(
    appId=PATH_ID,
    host=STRING,
    message=STRING,
    state=STRING,
    taskId=STRING,
    timestamp=TIME,
    version=TIME,
    slaveId_=STRING,
)
_STATS = record(
    stats=record(
        counts=record(staged=integer(), running=integer(), healthy=integer(), unhealthy=integer()),
        lifeTime_=record(averageSeconds=number(), medianSeconds=number()),
    )
)
TASK_STATS = record(
    startedAfterLastScaling_=_STATS, withLatestConfig_=_STATS, withOutdatedConfig_=_STATS, totalSummary_=_STATS
)

APP_INFO = extended(
    APP_SHOWN,
    tasksStaged_=integer(),
    tasksRunning_=integer(),
    tasksHealthy_=integer(),
    tasksUnhealthy_=integer(),
    deployments_=several(IDENTIFIED),
    readinessCheckResults_=several(READINESS_RESULT),
    tasks_=several(TASK),
    lastTaskFailure_=TASK_FAILURE,
    tasksStats_=TASK_STATS,
)
"""``tasksStats`` is the RAML's name; it is what ``embed=apps.taskStats`` adds."""
APP_LIST = record(apps=several({"$ref": "#/$defs/AppInfo"}))
APP_ANSWER = record(app={"$ref": "#/$defs/AppInfo"})
APPS_BELOW = {**record(), "properties": {"*": several({"$ref": "#/$defs/AppInfo"})}, "required": ["*"]}
"""Of a path that ends in ``/*``."""
VERSION_LIST = record(versions=several(TIME))

# Groups and deployments.

GROUP_INFO = record(
    id=PATH_ID,
    apps_=several({"$ref": "#/$defs/AppInfo"}),
    pods_={"type": "array", "maxItems": 0},
    groups_=several({"$ref": "#/$defs/GroupInfo"}),
    dependencies_=several(PATH_ID, uniqueItems=True),
    version_=TIME,
    enforceRole_=BOOLEAN,
)
GROUP_UPDATE = record(
    id_=PATH_ID,
    apps_=several({"$ref": "#/$defs/App"}, uniqueItems=True),
    groups_=several({"$ref": "#/$defs/GroupUpdate"}, uniqueItems=True),
    dependencies_=several(PATH_ID, uniqueItems=True),
    scaleBy_=number(0),
    version_=TIME,
    enforceRole_=BOOLEAN,
)
GROUP_PARTIAL_UPDATE = record(enforceRole_=BOOLEAN)
GROUP_VERSIONS = several(TIME)
DEPLOYMENT_RESULT = record(deploymentId=STRING, version=TIME)
ACTION = record(
    action=one_of(
        *(f"{verb}{noun}" for noun in ("Application", "Pod") for verb in ("Start", "Stop", "Scale", "Restart")),
        "ResolveArtifacts",
    ),
    app_=PATH_ID,
    pod_=PATH_ID,
)
STEP = record(actions=several(ACTION))
DEPLOYMENT_STEPS = record(steps=several(STEP))
DEPLOYMENT_PLAN = record(id=STRING, steps=several(STEP), version=TIME)
DEPLOYMENT = extended(
    DEPLOYMENT_PLAN,
    affectedApps=several(PATH_ID),
    affectedPods=several(PATH_ID),
    currentActions=several(extended(ACTION, readinessCheckResults=several(READINESS_RESULT))),
    currentStep=integer(),
    totalSteps=integer(),
)
DEPLOYMENTS = several(DEPLOYMENT)

# The queue.

RANGE = record(begin=number(), end=number())
OFFER_RESOURCE = record(name=STRING, role=STRING, scalar_=number(), ranges_=several(RANGE), set_=several(STRING))
ATTRIBUTE = record(name=STRING, text_=STRING, scalar_=number(), ranges_=several(RANGE), set_=several(STRING))
OFFER = record(
    id=STRING, hostname=STRING, agentId=STRING, resources=several(OFFER_RESOURCE), attributes=several(ATTRIBUTE)
)
_DECLINED = several(record(reason=STRING, declined=number(), processed=number()))
QUEUE_ITEM = record(
    count=number(),
    role=STRING,
    delay=record(timeLeftSeconds=number(), overdue=BOOLEAN),
    since=TIME,
    processedOffersSummary=record(
        processedOffersCount=number(),
        unusedOffersCount=number(),
        lastUnusedOfferAt_=TIME,
        lastUsedOfferAt_=TIME,
        rejectSummaryLastOffers_=_DECLINED,
        rejectSummaryLaunchAttempt_=_DECLINED,
    ),
    lastUnusedOffers_=several(record(offer=OFFER, reason=several(STRING), timestamp=TIME)),
    app={"$ref": "#/$defs/AppShown"},
)
QUEUE = record(queue_=several(QUEUE_ITEM))

# The server itself.

LEADER = record(leader=STRING)
MESSAGE = record(message=STRING)
_CONFIG_NUMBERS = words(
    "decline_offer_duration failover_timeout launch_token launch_token_refresh_interval "
    "leader_proxy_connection_timeout_ms leader_proxy_read_timeout_ms local_port_max local_port_min "
    "max_instances_per_offer mesos_heartbeat_failure_threshold mesos_heartbeat_interval min_revive_offers_interval "
    "offer_matching_timeout on_elected_prepare_timeout reconciliation_initial_delay reconciliation_interval "
    "scale_apps_initial_delay scale_apps_interval task_launch_confirm_timeout task_launch_timeout "
    "task_reservation_timeout"
)
_CONFIG_TEXTS = words(
    "default_network_name env_vars_prefix executor framework_name hostname master mesos_bridge_name "
    "mesos_leader_ui_url mesos_role mesos_user webui_url"
)
MARATHON_CONFIG = record(
    access_control_allow_origin_=several(STRING),
    features=several(STRING),
    task_lost_expunge_initial_delay=number(),
    task_lost_expunge_interval=number(),
    **{f"{name}_": BOOLEAN for name in ("checkpoint", "ha", "store_cache")},
    **{f"{name}_": number() for name in _CONFIG_NUMBERS},
    **{f"{name}_": STRING for name in _CONFIG_TEXTS},
)
ZOOKEEPER_CONFIG = record(
    zk=STRING,
    zk_compression_=BOOLEAN,
    zk_compression_threshold_=number(),
    zk_connection_timeout=number(),
    zk_max_node_size_=number(),
    zk_max_versions=number(),
    zk_session_timeout=number(),
    zk_timeout=number(),
)
INFO = record(
    name=STRING,
    version=STRING,
    buildref=STRING,
    elected=BOOLEAN,
    leader_=STRING,
    frameworkId_=STRING,
    marathon_config=MARATHON_CONFIG,
    zookeeper_config=ZOOKEEPER_CONFIG,
    http_config=record(http_port=number(0), https_port=number(0)),
)
PLUGINS = record(
    plugins=several(
        record(id=STRING, implementation=STRING, info_={"type": "object"}, plugin=STRING, tags_=several(STRING))
    )
)
_SPREAD = {name: number() for name in words("min mean max p50 p75 p95 p98 p99 p999 stddev")}
_RATES = {name: number() for name in words("m1_rate m5_rate m15_rate mean_rate")}
METRICS = record(
    version=STRING,
    counters=table(record(count=integer())),
    gauges=table(record(value=number())),
    histograms=table(record(count=integer(), **_SPREAD)),
    meters=table(record(count=integer(), units=STRING, **_RATES)),
    timers=table(record(count=integer(), duration_units=STRING, rate_units=STRING, **_SPREAD, **_RATES)),
)
LOGGERS = table(STRING)
LOGGER_CHANGE = record(
    level=one_of("trace", "debug", "info", "warn", "error"), logger=STRING, durationSeconds_=integer()
)
DELETE_TASKS = record(ids=several(STRING))
ERROR = record(
    message=STRING,
    details_=several(record(path_=STRING, message_=STRING, errors_=several(STRING))),
    deployments_=several(IDENTIFIED),
)
"""With ``path``, which the RAML leaves out of the type and has in every example, and what a 409 tells."""

DEFINITIONS: dict[str, Schema] = {
    "App": APP,
    "AppShown": APP_SHOWN,
    "AppInfo": APP_INFO,
    "PortMapping": PORT_MAPPING,
    "GroupInfo": GROUP_INFO,
    "GroupUpdate": GROUP_UPDATE,
}
