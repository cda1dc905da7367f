"""A recording -> its waveform at 16 kHz, with libsndfile and soxr."""

import io

import soundfile
import soxr
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton's Python backend runs."""

    def execute(self, requests):
        """Answer every request, a damaged recording with an error of its own."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Decode the recording of one request."""
        [file] = pb_utils.get_input_tensor_by_name(request, "recording").as_numpy()
        try:
            waveform = decode(file)
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        return pb_utils.InferenceResponse([pb_utils.Tensor("waveform", waveform)])


def decode(encoded):
    """Return the mean of a recording's channels at 16 kHz: float32 (samples,)."""
    try:
        samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"libsndfile cannot decode {len(encoded)} bytes: {error.error_string}") from None
    return soxr.resample(samples.mean(axis=1), rate, 16_000)
