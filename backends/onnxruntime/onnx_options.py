"""The config's parameters as options of ONNX Runtime, under the native backend's names."""

import onnxruntime as ort

GRAPH_LEVELS = {  # optimization { graph { level } }, as the native backend reads it
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
SESSION_SWITCHES = (
    "session.use_device_allocator_for_initializers",
    "session.intra_op.allow_spinning",
    "session.inter_op.allow_spinning",
)


def options(config):
    """Return the session options; one default is not the native backend's: threads do not spin.

    ONNX Runtime's threads spin while they wait for work. With two threads that takes 1.7 times the CPU for the
    same run, from the other steps on the same cores; `session.intra_op.allow_spinning` = "1" turns it on.
    """
    parameters = config["parameters"]
    session = ort.SessionOptions()
    session.graph_optimization_level = GRAPH_LEVELS[config["optimization"].get("graph", {}).get("level", 0)]
    session.intra_op_num_threads = parameter(parameters, "intra_op_thread_count", 0, threads)
    session.inter_op_num_threads = parameter(parameters, "inter_op_thread_count", 0, threads)
    session.execution_mode = parameter(parameters, "execution_mode", ort.ExecutionMode.ORT_SEQUENTIAL, mode)
    session.enable_cpu_mem_arena = parameter(parameters, "enable_mem_arena", True, switch)
    session.enable_mem_pattern = parameter(parameters, "enable_mem_pattern", True, switch)
    for key in SESSION_SWITCHES:
        session.add_session_config_entry(key, str(int(parameter(parameters, key, False, switch))))
    for library in config.get("model_operations", {}).get("op_library_filename", []):
        session.register_custom_ops_library(library)
    return session


def run_options(parameters):
    """Return the options of a run: whether it gives memory back afterwards."""
    run = ort.RunOptions()
    if shrink := parameter(parameters, "memory.enable_memory_arena_shrinkage", "", str):
        run.add_run_config_entry("memory.enable_memory_arena_shrinkage", shrink)
    return run


def parameter(parameters, key, default, read):
    """Return a parameter's value, parsed by `read`, or the default.

    Raises ValueError, which repeats the docstring of `read`: that says what is expected.
    """
    if key not in parameters:
        return default
    given = parameters[key]["string_value"]
    try:
        return read(given)
    except (KeyError, ValueError):
        raise ValueError(f"parameter {key} is '{given}', expected {read.__doc__}") from None


def threads(text):
    """a whole number of threads, or 0 for one per core"""
    if not text.isdecimal():
        raise ValueError
    return int(text)


def mode(text):
    """0 (sequential) or 1 (parallel)"""
    return {"0": ort.ExecutionMode.ORT_SEQUENTIAL, "1": ort.ExecutionMode.ORT_PARALLEL}[text]


def switch(text):
    """0 or 1, false or true"""
    return {"0": False, "false": False, "1": True, "true": True}[text.lower()]
