"""The linter of `model_repository/`, `ensembles/` and `model_variants/`: rules over the parsed configurations.

Each is a function that yields what it objects to. The tests run every rule over the committed files, and break them to
see it object.
"""

import re
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

ROOT = Path(__file__).parents[2]
TABLE = {  # the contract that clients rely on: model -> (backend, inputs, outputs)
    "image": ("ensemble", "encoded UINT8 [-1]", "logits FP32 [1000]"),
    "image_preprocess": ("dali", "encoded UINT8 [-1] ragged", "pixels FP32 [3,224,224]"),
    "resnet50": ("onnxruntime", "pixels FP32 [3,224,224]", "logits FP32 [1000]"),
    "audio": ("ensemble", "encoded UINT8 [-1]", "logits FP32 [-1,32], transcript STRING [1]"),
    "audio_preprocess": ("python", "encoded UINT8 [-1] ragged", "waveform FP32 [-1]"),
    "wav2vec2": ("onnxruntime", "waveform FP32 [-1]", "logits FP32 [-1,32]"),
    "ctc_decode": ("python", "logits FP32 [-1,32]", "transcript STRING [1], logits FP32 [-1,32]"),
    **{
        f"preprocess_{library}": ("python", "encoded UINT8 [-1] ragged", "pixels FP32 [3,224,224]")
        for library in ("pillow", "opencv", "scaled")
    },
    **{
        f"image_{library}": ("ensemble", "encoded UINT8 [-1]", "logits FP32 [1000]")
        for library in ("pillow", "opencv", "scaled")
    },
    "image_bls": ("python", "encoded UINT8 [-1] ragged", "logits FP32 [1000]"),
    "top5": ("python", "logits FP32 [1000]", "classes INT32 [5], scores FP32 [5]"),
    "image_top5": ("ensemble", "encoded UINT8 [-1]", "classes INT32 [5], scores FP32 [5]"),
}
THREADS = {"dali": ["num_threads"], "onnxruntime": ["intra_op_thread_count", "inter_op_thread_count"], "python": []}


def committed():
    """folder name -> (its config, the file's text)."""
    folders = ("model_repository", "ensembles", "model_variants")
    paths = [path for folder in folders for path in ROOT.glob(f"{folder}/*/config.pbtxt")]
    return {path.parent.name: path.read_text() for path in paths}


def parsed(texts):
    return {folder: text_format.Parse(text, ModelConfig()) for folder, text in texts.items()}


def shown(tensors):
    """A config's tensors as the table writes them."""
    return ", ".join(
        f"{tensor.name} {kind(tensor)} [{','.join(map(str, tensor.dims))}]"
        + (" ragged" if getattr(tensor, "allow_ragged_batch", False) else "")
        for tensor in tensors
    )


def kind(tensor):
    return DataType.Name(tensor.data_type).removeprefix("TYPE_")


def a_folder_has_the_name_of_its_model(configs):
    for folder, config in configs.items():
        if config.name != folder:
            yield f"{folder} holds the model '{config.name}'"


def the_tensors_are_those_of_the_contract(configs):
    found = {
        name: (config.backend or config.platform, shown(config.input), shown(config.output))
        for name, config in configs.items()
    }
    for name in sorted(found.keys() | TABLE.keys()):
        if found.get(name) != TABLE.get(name):
            yield f"{name} is {found.get(name)}, the contract says {TABLE.get(name)}"


def every_model_batches(configs):
    for name, config in configs.items():
        if config.max_batch_size < 1:
            yield f"{name} has max_batch_size {config.max_batch_size}"


def batches_form_from_what_waits_and_wait_for_nothing(configs):
    """A queue policy keeps Triton's batcher asleep while requests wait, and inputs of several lengths keep it spinning
    unless every batch size is preferred: docs/server.md, "Batching"."""
    for name, config in steps(configs):
        batching = config.dynamic_batching
        if not config.HasField("dynamic_batching"):
            yield f"{name} has no dynamic_batching"
        if batching.HasField("default_queue_policy"):
            yield f"{name} has a queue policy"
        if batching.max_queue_delay_microseconds:
            yield f"{name} delays requests"
        lengths = any(-1 in tensor.dims and not tensor.allow_ragged_batch for tensor in config.input)
        if lengths and list(batching.preferred_batch_size) != list(range(1, config.max_batch_size + 1)):
            yield f"{name} takes inputs of several lengths and does not prefer every batch size"


def instances_and_threads_are_explicit(configs):
    for name, config in steps(configs):
        if [group.count for group in config.instance_group] != [1]:
            yield f"{name} does not say one instance"
        for key in THREADS[config.backend]:
            if config.parameters[key].string_value != "1":
                yield f"{name} does not say one thread in {key}"


def what_may_use_a_gpu_leaves_the_kind_open(configs):
    for name, config in steps(configs):
        expected = ModelInstanceGroup.KIND_CPU if config.backend == "python" else ModelInstanceGroup.KIND_AUTO
        if any(group.kind != expected for group in config.instance_group):
            yield f"{name} is not {ModelInstanceGroup.Kind.Name(expected)}"


def only_a_thousand_classes_have_labels(configs):
    for name, config in steps(configs):
        for tensor in config.output:
            # Of a network, that is: a model that calls it hands its numbers on.
            network = config.backend == "onnxruntime" and list(tensor.dims) == [1000]
            if bool(tensor.label_filename) != network:
                yield f"{name}'s {tensor.name} of {list(tensor.dims)} has the labels '{tensor.label_filename}'"


def every_wire_has_one_name_type_and_shape_at_both_ends(configs):
    """A wire runs from the ensemble's inputs or a step's outputs to a step's inputs or the ensemble's outputs.

    Its name is that of the tensors at its ends, unless the ensemble returns a tensor of that name from elsewhere.
    """
    for name, ensemble in ensembles(configs):
        wires = {tensor.name: tensor for tensor in ensemble.input}
        for step in ensemble.ensemble_scheduling.step:
            model = configs.get(step.model_name)
            if model is None:
                yield f"{name} has a step '{step.model_name}', which is no model"
                continue
            if set(step.input_map) != names(model.input) or not set(step.output_map) <= names(model.output):
                yield f"{name} maps {sorted(step.input_map)} to {sorted(step.output_map)} of {model.name}"
            for end, wire in [*step.input_map.items(), *step.output_map.items()]:
                if end != wire and (end not in names(ensemble.output) or wire in names(ensemble.output)):
                    yield f"{name} calls {model.name}'s {end} '{wire}'"
            for tensor in model.input:
                yield from differences(name, wires.get(step.input_map.get(tensor.name)), tensor)
            wires |= {step.output_map[tensor.name]: tensor for tensor in model.output if tensor.name in step.output_map}
        for tensor in ensemble.output:
            yield from differences(name, wires.get(tensor.name), tensor)


def an_ensemble_batches_no_more_than_its_steps(configs):
    for name, ensemble in ensembles(configs):
        for step in ensemble.ensemble_scheduling.step:
            model = configs.get(step.model_name, ModelConfig())
            if ensemble.max_batch_size > model.max_batch_size:
                yield f"{name} takes {ensemble.max_batch_size} at once, {step.model_name} {model.max_batch_size}"


def differences(ensemble, source, target):
    if source is None:
        yield f"{ensemble}: nothing feeds {target.name}"
    elif (kind(source), list(source.dims)) != (kind(target), list(target.dims)):
        ends = f"{kind(source)} {list(source.dims)} and {kind(target)} {list(target.dims)}"
        yield f"{ensemble}: {target.name} has two ends, {ends}"


def steps(configs):
    return [(name, config) for name, config in configs.items() if config.platform != "ensemble"]


def ensembles(configs):
    return [(name, config) for name, config in configs.items() if config.platform == "ensemble"]


def names(tensors):
    return {tensor.name for tensor in tensors}


RULES = [
    a_folder_has_the_name_of_its_model,
    the_tensors_are_those_of_the_contract,
    every_model_batches,
    batches_form_from_what_waits_and_wait_for_nothing,
    instances_and_threads_are_explicit,
    what_may_use_a_gpu_leaves_the_kind_open,
    only_a_thousand_classes_have_labels,
    every_wire_has_one_name_type_and_shape_at_both_ends,
    an_ensemble_batches_no_more_than_its_steps,
]
MUTATIONS = [  # rule, folder, what is there, what to put there instead, what the rule then says
    (a_folder_has_the_name_of_its_model, "resnet50", 'name: "resnet50"', 'name: "resnet"', "the model 'resnet'"),
    (the_tensors_are_those_of_the_contract, "image", "TYPE_UINT8", "TYPE_STRING", "image is"),
    (the_tensors_are_those_of_the_contract, "audio_preprocess", "allow_ragged_batch: true", "", "audio_preprocess is"),
    (the_tensors_are_those_of_the_contract, "wav2vec2", '"onnxruntime"', '"python"', "wav2vec2 is"),
    (every_model_batches, "ctc_decode", "max_batch_size: 8", "max_batch_size: 0", "max_batch_size 0"),
    (batches_form_from_what_waits_and_wait_for_nothing, "resnet50", "dynamic_batching {.*}", "", "no dynamic"),
    (
        batches_form_from_what_waits_and_wait_for_nothing,
        "resnet50",
        "delay_microseconds: 0",
        "delay_microseconds: 0 default_queue_policy { max_queue_size: 256 }",
        "has a queue policy",
    ),
    (batches_form_from_what_waits_and_wait_for_nothing, "resnet50", "microseconds: 0", "microseconds: 9", "delays"),
    (batches_form_from_what_waits_and_wait_for_nothing, "wav2vec2", "7, 8 ]", "7 ]", "every batch size"),
    (
        batches_form_from_what_waits_and_wait_for_nothing,
        "audio_preprocess",
        "allow_ragged_batch: true",
        "",
        "every batch size",
    ),
    (instances_and_threads_are_explicit, "wav2vec2", "instance_group .*", "", "one instance"),
    (instances_and_threads_are_explicit, "wav2vec2", "inter_op_thread_count", "inter_op", "in inter_op_thread_count"),
    (instances_and_threads_are_explicit, "image_preprocess", 'string_value: "1"', 'string_value: "4"', "num_threads"),
    (what_may_use_a_gpu_leaves_the_kind_open, "resnet50", "count: 1", "count: 1 kind: KIND_CPU", "not KIND_AUTO"),
    (what_may_use_a_gpu_leaves_the_kind_open, "ctc_decode", "kind: KIND_CPU", "", "not KIND_CPU"),
    (only_a_thousand_classes_have_labels, "resnet50", r"label_filename: \S+", "", "has the labels ''"),
    (only_a_thousand_classes_have_labels, "wav2vec2", r"\[ -1, 32 \]", '[ -1, 32 ] label_filename: "l"', "labels 'l'"),
    (every_wire_has_one_name_type_and_shape_at_both_ends, "image", '"pixels"', '"images"', "'images'"),
    (every_wire_has_one_name_type_and_shape_at_both_ends, "resnet50", "224, 224", "256, 256", "[3, 256, 256]"),
    (every_wire_has_one_name_type_and_shape_at_both_ends, "ctc_decode", "TYPE_FP32", "TYPE_FP16", "FP16"),
    (every_wire_has_one_name_type_and_shape_at_both_ends, "audio", '"ctc_decode"', '"beam"', "step 'beam'"),
    (
        every_wire_has_one_name_type_and_shape_at_both_ends,
        "audio",
        r"dims: \[ 1 \]",
        "dims: [ 2 ]",
        "transcript has two",
    ),
    (every_wire_has_one_name_type_and_shape_at_both_ends, "audio", r'output_map .*"transcript" }', "", "nothing feeds"),
    (an_ensemble_batches_no_more_than_its_steps, "wav2vec2", "max_batch_size: 8", "max_batch_size: 4", "wav2vec2 4"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_committed_configurations_keep_the_rule(rule):
    assert list(rule(parsed(committed()))) == []


@pytest.mark.parametrize(("rule", "folder", "what", "instead", "complaint"), MUTATIONS)
def test_a_rule_objects_to_a_configuration_that_breaks_it(rule, folder, what, instead, complaint):
    texts = committed()
    broken = re.sub(what, instead, texts[folder])
    assert broken != texts[folder]
    assert any(complaint in objection for objection in rule(parsed(texts | {folder: broken})))


def test_every_rule_has_been_broken():
    assert {rule for rule, *_ in MUTATIONS} == set(RULES)


@pytest.mark.parametrize("folder", TABLE)
def test_the_first_line_draws_the_flow_through_the_tensors_and_models(folder):
    config = parsed(committed())[folder]
    drawing = committed()[folder].splitlines()[0]
    models = [step.model_name for step in config.ensemble_scheduling.step] or [folder]
    assert re.findall(r"\[ (\w+) \]", drawing) == models
    assert all(tensor.name in drawing for tensor in [*config.input, *config.output])


@pytest.mark.parametrize("folder", ["image_preprocess", "audio_preprocess", "ctc_decode"])
def test_the_code_of_a_step_is_where_its_backend_looks(folder):
    backend = parsed(committed())[folder].backend
    assert (ROOT / "model_repository" / folder / "1" / {"dali": "dali.py", "python": "model.py"}[backend]).is_file()
