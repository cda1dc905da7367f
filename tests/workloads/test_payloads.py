"""What is sent: files of a directory, rows of a data file, and what a function makes with a seed."""

import numpy as np
import pytest

from crossover import Placement, Workload, arrays, files, made
from workloads import catalogue, payloads
from workloads.payloads import Payload
from workloads.workload import Target

HEAD = "from crossover import Placement, Workload, arrays, files, made\n"


def load(source):
    return Workload(name="toy", placements={"a": Placement("m")}, payloads=source).load()


def test_a_directory_stands_for_its_files(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_bytes(name.encode())
    assert [each.encoded for each in load(files(str(tmp_path)))] == [b"a", b"b"]


def test_each_row_of_an_array_is_a_payload(tmp_path):
    rows = np.arange(12, dtype=np.int16).reshape(3, 4)
    np.save(tmp_path / "x.npy", rows)
    np.savez(tmp_path / "x.npz", rows)
    for file in ("x.npy", "x.npz"):
        found = load(arrays(str(tmp_path / file)))
        assert [each.name for each in found] == [f"{file}[0]", f"{file}[1]", f"{file}[2]"]
        np.testing.assert_array_equal(np.stack([each.encoded for each in found]), rows)
        assert [each.size for each in found] == [8, 8, 8]
        [tensor] = Target("m", None).encode(Placement("m").preprocessor()(found[1].encoded))
        assert (tensor.datatype, tensor.shape, tensor.array.tolist()) == ("INT16", (1, 4), [[4, 5, 6, 7]])


def test_nobody_can_write_to_a_payload_that_is_an_array(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3), np.float32), b=np.zeros(2, "S4"))
    read, own = load(arrays(str(tmp_path / "x.npz"))), load(made(lambda rng: np.zeros(3), 1))
    for array in (*read[0].encoded.values(), own[0].encoded):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_several_arrays_of_a_file_are_inputs_by_name(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3), np.float32), text=np.array([b"one", b"three"]))
    found = load(arrays(str(tmp_path / "x.npz")))
    tensors = Target("m", None).encode(Placement("m").preprocessor()(found[1].encoded))
    found_specs = [(each.name, each.datatype, each.shape) for each in tensors]
    assert found_specs == [("a", "FP32", (1, 3)), ("text", "BYTES", (1,))]
    assert found[1].encoded["text"] == b"three"


def test_a_data_file_is_looked_for_beside_the_workloads_file(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 2)))
    (tmp_path / "mine.py").write_text(
        f"{HEAD}WORKLOAD = Workload(name='a', payloads=arrays('x.npy'), placements={{'a': Placement('m')}})\n"
    )
    assert catalogue.find(str(tmp_path / "mine.py")).load()[0].name == "x.npy[0]"


def test_a_seed_gives_the_same_payloads_and_a_larger_count_the_same_ones_first():
    def draw(rng):
        return {"x": rng.normal(size=3).astype(np.float32), "file": rng.bytes(4)}

    few, more, others = (load(made(draw, *given)) for given in ((2, 5), (3, 5), (2, 6)))
    assert payloads.digest(few) == payloads.digest(more[:2]) != payloads.digest(others)
    assert few[0].encoded["file"] != few[1].encoded["file"]


def test_the_digest_tells_types_shapes_and_texts_apart():
    kinds = [b"\0\0", np.zeros(2, "u1"), np.zeros(2, "i1"), np.zeros((1, 2), "u1"), np.zeros(1, "u2")]
    kinds += [np.array(["a", "b"], object), np.array(["a", "c"], object), {"x": np.zeros(2, "u1")}]
    assert len({payloads.digest([Payload("same", each)]) for each in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read payloads: No such file or directory: "),
        (b"", "holds no arrays"),
        (b"PK\x03\x04 no archive", "holds no arrays"),
        (np.array([{}]), "holds no arrays (Object arrays cannot be loaded when allow_pickle=False)"),
        (np.array(3), "its arrays must have equally many rows, a payload each; ()"),
        (np.zeros((0, 3)), "its arrays must have equally many rows, a payload each; (0, 3)"),
        ({"a": np.zeros(2), "b": np.zeros((3, 1))}, "equally many rows, a payload each; a (2,), b (3, 1)"),
        ({}, "equally many rows, a payload each; none"),
    ],
)
def test_a_data_file_that_is_none_is_one_line(tmp_path, content, says):
    path = tmp_path / "x.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with path.open("wb") as file:
            np.savez(file, **content) if isinstance(content, dict) else np.save(file, content)
    with pytest.raises(ValueError) as refusal:
        load(arrays(str(path)))
    assert says in str(refusal.value) and "\n" not in str(refusal.value) and "x.npz" in str(refusal.value)


def fail(rng):
    return 1 / 0


def test_a_function_that_makes_no_payloads_is_one_line():
    with pytest.raises(ValueError, match=r"^cannot make payload 0: fail raised ZeroDivisionError: division by zero$"):
        load(made(fail))
    with pytest.raises(ValueError, match="returns bytes, an array or a dict of them; it returned an object of type"):
        load(made(lambda rng: 3))
    with pytest.raises(ValueError, match="'made-0' must hold bytes or arrays, not int"):
        load(made(lambda rng: {"x": 3}))
    with pytest.raises(ValueError, match="'made-0' is empty"):
        load(made(lambda rng: b""))
    with pytest.raises(ValueError, match=r"made\(\) needs a count of at least 1, not 0"):
        made(fail, 0)


def test_what_is_sent_is_told_with_its_number_sizes_and_origin():
    sent = [Payload("a", bytes(16_000)), Payload("b", bytes(627_900)), Payload("c", bytes(30_000))]
    assert payloads.describe(sent, "my photos/") == "3 files, 16 to 628 KB, from my photos/"
    assert payloads.describe(sent[:1]) == "1 payload, 16 KB, from the workload"
    assert payloads.describe([Payload("x", {"a": np.zeros(250, np.float32)})]) == "1 payload, 1 KB, from the workload"
