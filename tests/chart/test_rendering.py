"""Every combination of the table renders, is linted clean, and fits the schemas of Kubernetes and of other kinds."""

import copy
import json

import pytest
import yaml

from tests.chart.rendering import AXES, CASES, CHART, NAMESPACE, ROOT, find, list_pods, render

pytestmark = pytest.mark.chart
VERSIONS = ("1.27", "1.31", "1.37")
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests" / "chart" / "schemas").glob("*.json")}
EVERYTHING = "nvidia more keda locust"


def validate(each: dict, version: str) -> None:
    """Raise an exception of kubernetes-validate or jsonschema unless the object fits its kind's schema."""
    import jsonschema
    import kubernetes_validate

    if each["kind"] in SCHEMAS:
        jsonschema.validate(each, SCHEMAS[each["kind"]])
    else:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_every_combination_renders_and_validates(case):
    objects = render(CASES[case])
    for each in objects:
        validate(each, VERSIONS[-1])
        assert each["metadata"]["namespace"] == NAMESPACE
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    assert {each["kind"] for each in objects} == expect_kinds(*case.split())


def expect_kinds(image: str, models: str, scaling: str, load: str) -> set[str]:
    kinds = {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget"}
    kinds |= set() if load == "none" else {"NetworkPolicy"}
    kinds |= {"job": {"Job"}, "operator": {"LocustTest"}}.get(load, set())
    kinds |= set() if scaling == "none" else {"ServiceMonitor", "PrometheusRule"}
    return kinds | {"hpa": {"HorizontalPodAutoscaler"}, "keda": {"ScaledObject"}}.get(scaling, set())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("load", AXES["load"])
@pytest.mark.parametrize("scaling", AXES["scaling"])
def test_it_fits_older_kubernetes_and_is_linted_clean(version, load, scaling):
    import helm_python

    values = CASES[f"nvidia more {scaling} {load}"]
    for each in render(values):
        validate(each, version)
    report = helm_python.lint(CHART, values, strict=True, kube_version=f"v{version}.0")
    assert not report["errors"] and [each for each in report["messages"] if each["severity"] > 1] == []


MISTAKES = {
    "Deployment": lambda each: each["spec"]["template"]["spec"]["containers"][0].update(colour="green"),
    "Service": lambda each: each["spec"]["ports"][0].update(port="http"),
    "NetworkPolicy": lambda each: each["spec"].update(podselector={}),
    "PodDisruptionBudget": lambda each: each["spec"].update(minimum=1),
    "HorizontalPodAutoscaler": lambda each: each["spec"]["metrics"][0]["external"].pop("target"),
    "ScaledObject": lambda each: each["spec"]["triggers"][0]["metadata"].update(threshold=0.02),
    "ServiceMonitor": lambda each: each["spec"]["endpoints"][0].update(interval="5 seconds"),
    "PrometheusRule": lambda each: each["spec"]["groups"][0]["rules"][0].update(alert="both"),
    "LocustTest": lambda each: each["spec"]["locustfile"].update(content="and a ConfigMap"),
    "Job": lambda each: each["spec"].update(backoffLimit="none"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_any_kind_would_be_noticed(kind):
    cases = (EVERYTHING, "cpu ours hpa job", "cpu ours none operator")
    each = next(each for case in cases for each in render(CASES[case]) if each["kind"] == kind)
    validate(each, VERSIONS[-1])
    wrong = copy.deepcopy(each)
    MISTAKES[kind](wrong)
    with pytest.raises(Exception, match=r"."):
        validate(wrong, VERSIONS[-1])


@pytest.mark.parametrize("case", [EVERYTHING, "cpu ours hpa job", "claim own none locust"])
def test_selectors_ports_and_volumes_lead_somewhere(case):
    objects = render(CASES[case])
    pods = list_pods(objects)
    labels = [pod["metadata"]["labels"] for pod in pods.values()]

    def fits(selector: dict) -> bool:
        return any(selector.items() <= each.items() for each in labels)

    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            assert fits(spec["selector"])
            asked = [pod for pod in pods.values() if spec["selector"].items() <= pod["metadata"]["labels"].items()]
            containers = [each for pod in asked for each in pod["spec"]["containers"]]
            names = {port["name"] for each in containers for port in each.get("ports", [])}
            assert {port["targetPort"] for port in spec["ports"]} <= names
        if each["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert fits(spec["selector"]["matchLabels"])
        if each["kind"] == "NetworkPolicy":
            assert fits(spec["podSelector"]["matchLabels"])
        if each["kind"] == "ServiceMonitor":
            services = [one["metadata"]["labels"] for one in objects if one["kind"] == "Service"]
            assert any(spec["selector"]["matchLabels"].items() <= one.items() for one in services)
        if "scaleTargetRef" in spec:
            find(objects, "Deployment", spec["scaleTargetRef"]["name"])
    for pod in pods.values():
        volumes = {each["name"] for each in pod["spec"]["volumes"]}
        containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
        assert {mount["name"] for each in containers for mount in each.get("volumeMounts", [])} == volumes


def test_the_dashboard_and_the_rules_are_those_of_deploy_observe():
    objects = render(CASES[EVERYTHING])
    dashboard = find(objects, "ConfigMap", "demo-dashboard")["data"]["crossover.json"]
    original = ROOT / "deploy" / "observe" / "grafana" / "dashboards" / "crossover.json"
    assert json.loads(dashboard) == json.loads(original.read_text())
    rules = find(objects, "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((ROOT / "deploy" / "observe" / "rules.yml").read_text())
    assert all(path.is_symlink() for path in (CHART / "files").iterdir())  # no second copy


def test_both_autoscalers_ask_for_the_recorded_queue_and_not_the_mean_over_models():
    rules = (ROOT / "deploy" / "observe" / "rules.yml").read_text()
    (trigger,) = find(render(CASES["cpu ours keda none"]), "ScaledObject")["spec"]["triggers"]
    assert "record: instance:triton_queue_seconds:max_rate30s" in rules
    assert trigger["metadata"]["query"] == (
        'sum(instance:triton_queue_seconds:max_rate30s{instance=~"prod/demo-triton-.+"})'
        ' or 0 * count(up{instance=~"prod/demo-triton-.+"} == 1)'
    )
    assert (trigger["metadata"]["threshold"], trigger["metricType"]) == ("0.02", "AverageValue")
    objects = render(CASES["cpu ours hpa none"])
    (metric,) = find(objects, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "20m"}
    assert "replicas" not in find(objects, "Deployment", "demo-triton")["spec"]  # the autoscaler's, at every upgrade


def test_every_flag_that_the_chart_gives_exists():
    told = "".join(
        path.read_text() for folder in ("serving", "crossover", "loadgen") for path in (ROOT / folder).rglob("*.py")
    )
    locusts = {
        "--locustfile",
        "--host",
        "--master",
        "--master-bind-host",
        "--web-host",
        "--worker",
        "--master-host",
        "--users",
    }
    built = {f"--{kind}-port" for kind in ("http", "grpc", "metrics")}
    for case in CASES:
        for name, pod in list_pods(render(CASES[case])).items():
            if not name.endswith("-proxy"):
                (container,) = pod["spec"]["containers"]
                flags = {each.split("=")[0] for each in container["args"] if each.startswith("--")}
                assert {each for each in flags - locusts - built if f'"{each}"' not in told} == set()
