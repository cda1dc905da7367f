"""Other ways of both placements of speech: what --arms names as `client:NAME` and `server:NAME`.

    client:resampled   bytes -> decode, resample -> WAV of 16 kHz -> [ audio ] -> logits
    client:flac        bytes -> decode -> FLAC of one channel -> [ audio ] -> logits
    client:opus        bytes -> decode, resample -> Opus of 16 kHz -> [ audio ] -> logits
    server:transcript  bytes -> [ audio ] -> transcript, without the logits

All of them ask the ensemble `audio`. What a placement loses is declared as `lossy`, and stands in every report.
"""

from workloads.tensors import Input
from workloads.workload import Placement, Preprocessor, per_thread

ENCODED = Input("encoded", "UINT8", (-1,))


def make_encoder(name: str) -> Preprocessor:
    """Make a preprocessor: encoded sound -> bytes of another encoding, by a function of `preprocess.audio_reencode`."""
    from preprocess import audio_reencode

    return getattr(audio_reencode, name)


def encode_by(name: str, form: str, lossy: str) -> Placement:
    """Return a placement whose clients encode the sound again, by that function of `preprocess.audio_reencode`."""
    return Placement(
        "audio",
        {name: per_thread(lambda: make_encoder(name))},
        inputs=(ENCODED,),
        batched=True,
        outputs=("logits",),
        form=form,
        lossy=lossy,
    )


CLIENT = {
    "resampled": encode_by("wav", "WAV of 16 kHz", "resampled to 16 kHz, one channel of 16 bits"),
    "flac": encode_by("flac", "FLAC", "one channel of 16 bits"),
    "opus": encode_by("opus", "Opus of 16 kHz", "resampled to 16 kHz and encoded as Opus"),
}
SERVER = {
    "transcript": Placement(
        "audio",
        inputs=(ENCODED,),
        batched=True,
        outputs=("transcript",),
        form="file",
        lossy="the transcript is answered without the logits",
    ),
}
