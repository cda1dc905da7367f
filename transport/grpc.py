"""One request over gRPC (KServe v2, `ModelInfer`), from a real OS thread: each connection has a channel of its own.

gRPC's core has threads of its own and knows no gevent. The message is written here, and not by protobuf: its head is
the same for all tensors of a shape and is made once, and the tensors' bytes follow it (protobuf allows the fields of a
message in any order), so that they are copied once. The stubs' messages are tritonclient's.
"""

import os
from functools import lru_cache
from math import prod

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it logs of broken connections, outcomes have as their reasons
# The thread that waits for an answer reads the socket itself: 10 to 25 % less CPU than by gRPC's own pool of threads.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")

import grpc
import numpy as np
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

from common import access, address, tls
from common.messages import first_line
from transport import outputs
from transport.answer_check import Unreadable, check_size, check_text
from transport.message import COMPLETED, FAILED, REJECTED, TIMED_OUT, Outcome, Request

SERVICE = "/inference.GRPCInferenceService"
PREFIX = 5  # bytes of gRPC before each message: whether it is compressed, and its length
RAW = b"\x3a"  # the tag of raw_input_contents: field 7, of bytes
CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),  # else all channels to a server share one connection
    ("grpc.enable_http_proxy", 0),  # the load takes no proxy
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
BUSY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
READY = 2  # of gRPC's states of a channel: its connection is there
LOST = (
    *("failed to connect", "errors resolving", "Socket closed", "Stream removed", "Connection reset", "recvmsg"),
    *("GOAWAY", "Broken pipe", "Endpoint closing", "ping", "Channel closed"),
)
"""Words of gRPC's own, in a status that no server has sent."""


class Connection:
    """A channel to the gRPC port of the server at `url`, for one thread; see `message` for the interface.

    It is opened by the first `post`, and again by the next one after it was lost. TLS and login are those that were
    granted to the server at `url` (`access.grant`); the path of a proxy is HTTP's alone. Raises ValueError for an
    address that is refused (see `address.parse`), and for --insecure.
    """

    def __init__(self, url: str, timeout: float, port: int):
        server = address.parse(url)
        self._server, self._timeout = address.Address(server.host, port, server.scheme), timeout
        self._access = access.find(server)
        self._metadata = [(name.lower(), value) for name, value in self._access.headers.items()]
        if self._access.insecure:
            raise ValueError("gRPC has no way to take any certificate: give --cacert instead of --insecure")
        self._channel: grpc.Channel | None = None
        self._infer: grpc.UnaryUnaryMultiCallable | None = None
        self.answer: ModelInferResponse | None = None
        """The last whole answer."""

    def post(self, request: Request) -> Outcome:
        """Send the request and wait for the whole answer, at most `timeout` seconds.

        Only status OK with the outputs that were asked for is completed; UNAVAILABLE and RESOURCE_EXHAUSTED of the
        server are rejected. No exception leaves this method but KeyboardInterrupt and its like.
        """
        self.answer, bytes_up = None, 0
        try:
            message = write_message(request)
            bytes_up = len(message) + PREFIX
            return self._judge(self._open()(message, timeout=self._timeout, metadata=self._metadata), request, bytes_up)
        except grpc.RpcError as error:
            return self._explain(error, bytes_up)
        except Exception as error:  # another thread has closed the channel, or the answer is no message
            self.close()
            return Outcome(FAILED, first_line(f"{type(error).__name__}: {error}"), bytes_up)

    def is_live(self) -> str:
        """Ask whether a server answers there, within the timeout. Returns why not, in one line; empty if it does.

        It is for a connection that has sent no request yet: its channel is closed afterwards.
        """
        channel = self._channel or self._make_channel()
        try:
            channel.unary_unary(f"{SERVICE}/ServerLive")(b"", timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return first_line(str(error.details()) or error.code().name)
        finally:
            channel.close()
        return ""

    def _open(self) -> "grpc.UnaryUnaryMultiCallable":
        """Return the method that sends a message, over the channel that is there, or a new one."""
        if self._infer is None:
            self._channel = self._make_channel()
            self._infer = self._channel.unary_unary(f"{SERVICE}/ModelInfer")
        return self._infer

    def _make_channel(self) -> grpc.Channel:
        """Make a channel, which connects at its first message."""
        if self._server.scheme == "http":
            return grpc.insecure_channel(self._server.authority, CHANNEL)
        credentials = grpc.ssl_channel_credentials(tls.read_authorities(self._access.ca_file))
        return grpc.secure_channel(self._server.authority, credentials, CHANNEL)

    def _judge(self, data: bytes, request: Request, bytes_up: int) -> Outcome:
        """Decide what an answer with status OK is worth: completed only with all outputs."""
        bytes_down = len(data) + PREFIX
        try:
            self.answer = ModelInferResponse.FromString(data)
        except Exception as error:
            reason = first_line(f"unreadable answer: {type(error).__name__}: {error}")
            return Outcome(FAILED, reason, bytes_up, bytes_down)
        try:
            check_tensors(self.answer, request.outputs)
        except Unreadable as error:
            return Outcome(FAILED, first_line(error), bytes_up, bytes_down)
        return Outcome(COMPLETED, "", bytes_up, bytes_down)

    def _explain(self, error: grpc.RpcError, bytes_up: int) -> Outcome:
        """Return what a status other than OK is worth. A connection that broke is opened again by the next `post`."""
        code, details = error.code(), str(error.details())
        is_lost = code == grpc.StatusCode.UNAVAILABLE and not self._has_answered(details)
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            self.close()
            return Outcome(TIMED_OUT, f"no answer within {self._timeout:g} s", bytes_up)
        if is_lost or code == grpc.StatusCode.CANCELLED:
            self.close()  # else gRPC would wait, longer each time, before it connects again
            return Outcome(FAILED, first_line(f"ConnectionError: {details}"), bytes_up)
        return Outcome(REJECTED if code in BUSY else FAILED, first_line(f"gRPC {code.name}: {details}"), bytes_up)

    def _has_answered(self, details: str) -> bool:
        """Tell UNAVAILABLE that a server has sent from gRPC's own, of a connection that broke: they have no other mark.

        After the former the connection is still there. The words are asked as well, as its state may be noted late.
        """
        core = getattr(self._channel, "_channel", None)  # no public method tells the state without a thread
        ready = core is None or core.check_connectivity_state(False) == READY
        return ready and not any(word in details for word in LOST)

    def read_outputs(self) -> dict[str, np.ndarray]:
        """Return the tensors of the last whole answer, by name. Raises ValueError if they are malformed."""
        if self.answer is None:
            return {}
        pairs = zip(self.answer.outputs, self.answer.raw_output_contents, strict=True)
        return {each.name: outputs.read_binary(raw, each.datatype).reshape(each.shape) for each, raw in pairs}

    def close(self) -> None:
        """Close the channel, if there is one; a `post` that waits fails, and the next one opens another."""
        channel, self._channel, self._infer = self._channel, None, None
        if channel is not None:
            channel.close()


def check_tensors(answer: ModelInferResponse, wanted: tuple[str, ...]) -> None:
    """Raise Unreadable unless each output that was asked for is there, with the bytes that its shape and type need."""
    described, tensors = answer.outputs, answer.raw_output_contents
    outputs = {output.name: position for position, output in enumerate(described)}
    if missing := [name for name in wanted if name not in outputs]:
        raise Unreadable(f"the answer lacks {', '.join(sorted(missing))}")
    if len(tensors) != len(described):
        raise Unreadable("the answer has not as many tensors as outputs")
    for name in wanted:
        output, raw = described[outputs[name]], tensors[outputs[name]]
        datatype, shape = output.datatype, tuple(output.shape)
        check_size(name, datatype, shape, len(raw))
        if datatype == "BYTES":
            check_text(name, raw, prod(shape))


def write_message(request: Request) -> bytes:
    """Write the serialised ModelInferRequest: its head, then each tensor's bytes, behind its tag and length."""
    specs = tuple(tensor.spec for tensor in request.tensors)
    pieces: list[bytes | memoryview] = [write_head(request.model, specs, request.outputs)]
    for tensor, spec in zip(request.tensors, specs, strict=True):
        pieces += [RAW + write_varint(spec[3]), *tensor.pieces]
    return b"".join(pieces)


@lru_cache(4096)
def write_head(model: str, specs: tuple[tuple[str, str, tuple[int, ...], int], ...], outputs: tuple[str, ...]) -> bytes:
    """Write the message without its tensors; `specs` are theirs. Tensors of a shape and type have the same head."""
    inputs = [
        ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
        for name, datatype, shape, _ in specs
    ]
    wanted = [ModelInferRequest.InferRequestedOutputTensor(name=output) for output in outputs]
    return ModelInferRequest(model_name=model, inputs=inputs, outputs=wanted).SerializeToString()


def write_varint(number: int) -> bytes:
    """Write a number as protobuf does: seven bits a byte, the lowest first, the highest bit set in all but the last."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
