"""What holds for every pod of every combination; each policy has been seen to notice a pod that breaks it."""

import copy

import pytest

from tests.chart.rendering import CASES, find, list_pods, render

pytestmark = pytest.mark.chart


def list_containers(pod: dict) -> list[dict]:
    return pod["spec"]["containers"] + pod["spec"].get("initContainers", [])


def security(container: dict) -> dict:
    return container.get("securityContext", {})


def tag(container: dict) -> str:
    return container["image"].rpartition("/")[2].partition(":")[2]


def whole(container: dict) -> bool:
    """Requests equal limits, and the CPUs are whole: what the static CPU manager needs to hand out cores."""
    resources = container.get("resources", {})
    limits = resources.get("limits", {})
    same = all(limits.get(name) == resources.get("requests", {}).get(name) for name in ("cpu", "memory"))
    return same and {"cpu", "memory"} <= limits.keys() and str(limits["cpu"]).isdigit()


def is_somebody(pod: dict) -> bool:
    """No process is root: the pod says who they are, and no container says otherwise."""
    context, others = pod["spec"]["securityContext"], [security(each) for each in list_containers(pod)]
    named = context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0
    return named and all(each.get("runAsUser", 1) > 0 and each.get("runAsNonRoot") is True for each in others)


POLICIES = {
    "not root": is_somebody,
    "read-only root": lambda pod: all(security(each).get("readOnlyRootFilesystem") for each in list_containers(pod)),
    "no capabilities but SYS_NICE": lambda pod: all(
        security(each).get("capabilities", {}).get("drop") == ["ALL"]
        and security(each)["capabilities"].get("add", []) in ([], ["SYS_NICE"])
        for each in list_containers(pod)
    ),
    "no escalation": lambda pod: all(
        security(each).get("allowPrivilegeEscalation") is False for each in list_containers(pod)
    ),
    "not privileged": lambda pod: not any(security(each).get("privileged") for each in list_containers(pod)),
    "no namespaces of the host": lambda pod: not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys()
    and not any("hostPath" in each for each in pod["spec"]["volumes"]),
    "seccomp": lambda pod: pod["spec"]["securityContext"].get("seccompProfile") == {"type": "RuntimeDefault"},
    "no token of the cluster": lambda pod: pod["spec"].get("automountServiceAccountToken") is False,
    "a tag or a digest, and not latest": lambda pod: all(
        tag(each) not in ("", "latest") for each in list_containers(pod)
    ),
    "limits on everything, whole CPUs": lambda pod: all(map(whole, list_containers(pod))),
    "bounded folders": lambda pod: all(
        "sizeLimit" in each["emptyDir"] for each in pod["spec"]["volumes"] if "emptyDir" in each
    ),
}  # fmt: skip

BREACHES = {
    "not root": lambda pod: pod["spec"]["containers"][0]["securityContext"].update(runAsUser=0),
    "read-only root": lambda pod: pod["spec"]["initContainers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
    "no capabilities but SYS_NICE": lambda pod: security(list_containers(pod)[0])["capabilities"].update(
        add=["SYS_ADMIN"]
    ),
    "no escalation": lambda pod: security(list_containers(pod)[0]).update(allowPrivilegeEscalation=True),
    "not privileged": lambda pod: security(list_containers(pod)[0]).update(privileged=True),
    "no namespaces of the host": lambda pod: pod["spec"].update(hostNetwork=True),
    "seccomp": lambda pod: pod["spec"]["securityContext"].pop("seccompProfile"),
    "no token of the cluster": lambda pod: pod["spec"].pop("automountServiceAccountToken"),
    "a tag or a digest, and not latest": lambda pod: list_containers(pod)[0].update(image="registry:5000/crossover"),
    "limits on everything, whole CPUs": lambda pod: list_containers(pod)[0]["resources"]["limits"].update(cpu="1500m"),
    "bounded folders": lambda pod: pod["spec"]["volumes"].append({"name": "more", "emptyDir": {}}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_pod_keeps_every_policy(case):
    for name, pod in list_pods(render(CASES[case])).items():
        assert [policy for policy, holds in POLICIES.items() if not holds(pod)] == [], name


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_notices_a_pod_that_breaks_it(policy):
    pod = list_pods(render(CASES["cpu ours none none"]))["Deployment/demo-triton"]
    broken = copy.deepcopy(pod)
    BREACHES[policy](broken)
    assert POLICIES[policy](pod) and not POLICIES[policy](broken)


def test_only_the_load_asks_for_sys_nice_and_only_where_the_values_do():
    nice = {"load": {"kind": "locust", "sysNice": True}}
    for values, expected in ((nice, {"demo-master", "demo-worker"}), ({"load": {"kind": "locust"}}, set())):
        pods = list_pods(render(values))
        assert {
            name.partition("/")[2]
            for name, pod in pods.items()
            if any("add" in security(each)["capabilities"] for each in list_containers(pod))
        } == expected


def test_the_operators_image_has_limits_and_is_not_its_latest():
    spec = find(render(CASES["cpu ours none operator"]), "LocustTest")["spec"]
    assert spec["image"] == "crossover-kubernetes:0.1.0-locust"
    assert all(whole(spec[role]) for role in ("master", "worker"))


def test_probes_are_canaries_and_the_slowest_of_them_ends_a_server():
    pod = list_pods(render({}))["Deployment/demo-triton"]
    (triton,) = pod["spec"]["containers"]
    probes = [triton[each] for each in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert all(each["exec"]["command"][:4] == ["python3", "-m", "serving", "canary"] for each in probes)
    patience = [each["periodSeconds"] * each["failureThreshold"] for each in probes]
    assert patience[1] < 30 and patience[2] > 300  # the supervisor's own repair comes first
    (own,) = list_pods(render(CASES["cpu own none none"]))["Deployment/demo-triton"]["spec"]["containers"]
    assert own["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}


def test_the_server_is_asked_by_the_proxy_and_prometheus_alone_and_asks_nobody():
    policy = find(render(CASES["cpu ours none job"]), "NetworkPolicy", "demo-triton")["spec"]
    first, second = policy["ingress"]
    assert [each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in first["from"]] == ["proxy"]
    assert second["ports"] == [{"port": "metrics"}] and "namespaceSelector" in second["from"][0]
    assert policy["egress"] == [] and policy["policyTypes"] == ["Ingress", "Egress"]


def list_targets(objects: list[dict]) -> list[str]:
    """The components that the load's pods may ask."""
    allowed = find(objects, "NetworkPolicy", "demo-load")["spec"]["egress"]
    places = [each["to"][0]["podSelector"] for each in allowed if "to" in each]
    return [each["matchLabels"]["app.kubernetes.io/component"] for each in places]


@pytest.mark.parametrize("kind", ["locust", "operator"])
def test_locust_s_pods_may_ask_each_replica_for_its_requests(kind):
    objects = render(CASES[f"cpu ours none {kind}"])
    _, second, _ = find(objects, "NetworkPolicy", "demo-triton")["spec"]["ingress"]
    assert second["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "load"
    assert second["ports"] == [{"port": "http"}]
    assert list_targets(objects) == ["proxy", "triton", "load"]
    assert list_targets(render(CASES["cpu ours none job"])) == ["proxy", "load"]
