"""Speech through wav2vec2, decoded by the client or by the server.

    client:  bytes -> decode, resample, normalise (client CPU) -> waveform -> [ wav2vec2 ] -> logits
    server:  bytes ------------------> [ audio: audio_preprocess -> wav2vec2 -> ctc_decode ] -> logits

The built-in speech is `clips/commands`: short spoken commands in the formats, rates and channel counts that people
really send, each with its text beside it (`clips/README.md` says where they come from). Sweeps over length cut
stretches out of them, at a rate that needs no resampling (16 kHz) and at one that does (48 kHz).

Its photographs' twin is `image.py`: what one has, the other has under the same name.
"""

import io
from functools import cache, partial
from importlib import import_module
from pathlib import Path

import numpy as np

from workloads import audio_variants
from workloads.payloads import Payload, read
from workloads.tensors import Input
from workloads.workload import Answer, Placement, Size, Sizes, Workload, per_thread

CLIPS = Path(__file__).parent / "clips" / "commands"
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
LENGTHS, RATES = (2, 5, 15, 30), (16_000, 48_000)


def clips() -> list[Payload]:
    """Return the built-in recordings, as they lie on the disk: WAV, FLAC, Ogg and MP3."""
    return read(CLIPS, SUFFIXES)


@cache
def speech(rate: int) -> np.ndarray:
    """Return all built-in clips, one after the other, mono: float32 (samples,) at that rate in Hz."""
    import librosa

    sounds = [io.BytesIO(payload.encoded) for payload in clips()]
    return np.concatenate([librosa.load(sound, sr=rate, mono=True)[0] for sound in sounds])


@cache
def fitted(seconds: int, rate: int) -> list[Payload]:
    """Return two stretches of the built-in clips, repeated as needed, as 16-bit mono WAV.

    Each is so many seconds long, at that rate in Hz; the second begins where the first ends.
    """
    import soundfile

    found = []
    for stretch in range(2):
        buffer = io.BytesIO()
        samples = np.resize(np.roll(speech(rate), -stretch * seconds * rate), seconds * rate)
        soundfile.write(buffer, samples, rate, subtype="PCM_16", format="WAV")
        found.append(Payload(f"speech-{stretch + 1}-{seconds}s-{rate}.wav", buffer.getvalue()))
    return found


def make_size(seconds: float, rate: int) -> Size:
    """Return the size of clips of about so many seconds, in whole seconds, at that rate in Hz."""
    whole = max(1, round(seconds))
    return Size(whole, f"{whole}s-{rate // 1000}k", partial(fitted, whole, rate))


def quote_transcript(transcript: np.ndarray) -> str:
    """Return the text in quotes; `transcript` is the array of one byte string that ctc_decode answers."""
    return repr(transcript.ravel()[0].decode())


AUDIO = Workload(
    name="audio",
    subject="speech",
    placements={
        "client": Placement(
            "wav2vec2",
            {"librosa": per_thread(lambda: import_module("preprocess.audio").waveform)},
            inputs=(Input("waveform", "FP32", (-1,)),),
            batched=True,
            outputs=("logits",),
            words="the client",
            form="FP32 tensor",
            variants=audio_variants.CLIENT,
        ),
        "server": Placement(
            "audio",
            inputs=(Input("encoded", "UINT8", (-1,)),),
            batched=True,
            outputs=("logits",),
            words="the server",
            form="file",
            variants=audio_variants.SERVER,
        ),
    },
    payloads=clips,
    optional={
        "local": Placement(
            "wav2vec2",
            {"librosa": per_thread(lambda: import_module("preprocess.audio").waveform)},
            inputs=(Input("waveform", "FP32", (-1,)),),
            batched=True,
            outputs=("logits",),
            words="the client alone",
            network="wav2vec2/1/model.onnx",
        ),
    },
    steps=("audio_preprocess", "wav2vec2", "ctc_decode"),
    suffixes=SUFFIXES,
    typical=partial(fitted, 5, 48_000),
    sizes=tuple(
        Sizes(
            f"clip length at {rate // 1000} kHz",
            "seconds",
            tuple(make_size(seconds, rate) for seconds in LENGTHS),
            partial(make_size, rate=rate),
        )
        for rate in RATES
    ),
    answer=Answer("transcript", quote_transcript),
    example=CLIPS / "light-16k-mono.wav",
    rate=1,
    share=0.65,
    sweep_shares={"tiny": 1, "real": 10, "fp16": 10},
)
