"""What is said of a check: a line per output, a verdict, and the line with which a comparison is refused."""

from collections.abc import Mapping

from common.figures import significant
from crossover.parity.check import DIFFERENT, LOSSY, SAME, UNKNOWN
from crossover.parity.difference import LARGEST, MEAN

SHOWN = 3  # payloads without an answer that are named
REMEDY = "correct one of them, say what is lost as Placement(lossy=...), or give --allow-different"


def describe_output(output: Mapping) -> str:
    """Describe how far one output is apart, from an entry of `outputs`: in one line without its verdict."""
    share = f"{output['same']} of {output['payloads']}"
    where = f" ({output['worst']})" if output["worst"] else ""
    if output["fault"]:
        return f"{output['output']}: {output['fault']}{where}; the same in {share}"
    if not output["largest"]:  # 0, or None where they must be equal
        return f"{output['output']}: equal in {share}{'' if output['agrees'] else where.replace('(', '(not in ')}"
    text = f"{output['output']}: differs by {significant(output['mean'], 2)} of its spread in mean{where}"
    text += f" and {significant(output['largest'], 2)} at the largest; at most {MEAN:g} and {LARGEST:g} are expected"
    text += f", and kept in {share}"
    return text + (f"; top-1 the same in {output['top1'] * 100:.3g} %" if output["top1"] is not None else "")


def describe_pair(name: str, pair: Mapping) -> list[str]:
    """Describe a pair of placements of a workload, from `Pair.as_dict`: a verdict, and a line per output."""
    verdicts = {
        SAME: "the same computation",
        LOSSY: f"not the same, as declared ({pair['lossy']})",
        DIFFERENT: "DIFFERENT answers",
        UNKNOWN: "not known, as no payload was answered by both",
    }
    if pair["lossy"]:
        # A tensor's name is followed by the steps that make it: `pixels (image:opencv for preprocess)`.
        apart = [each["output"].partition(" (")[0] for each in pair.get("tensors", ()) if not each["agrees"]]
        differ = f"{', '.join(dict.fromkeys(apart))} differ, as declared" if apart else "a loss is declared"
        verdicts[SAME] = f"answers agree; {differ} ({pair['lossy']})"
    lines = [f"{name} {' and '.join(pair['names'])}: {verdicts[pair['verdict']]}"]
    lines += [f"  {describe_output(each)}" for each in (*pair["outputs"], *pair.get("tensors", ()))]
    if not pair["outputs"] and pair["payloads"]:
        lines.append("  they have no output in common")
    if pair["unmatched"]:
        lines.append(f"  not compared: {'; '.join(pair['unmatched'])}")
    lost = pair["unanswered"]
    lines += [f"  no answer: {each}" for each in lost[:SHOWN]]
    if len(lost) > SHOWN:
        lines.append(f"  no answer: {len(lost) - SHOWN} more payloads")
    return lines


def explain_difference(pair: Mapping) -> str:
    """Say in one sentence that two placements answer differently, and in what."""
    first, second = pair["names"]
    apart = [describe_output(each) for each in pair["outputs"] if not each["agrees"]]
    what = "; ".join(apart) or f"they have no output in common ({'; '.join(pair['unmatched'])})"
    return f"placements {first!r} and {second!r} answer differently: {what}"


def warn_of_difference(pair: Mapping | None) -> str:
    """Say that placements compute different things, in a sentence that follows a verdict; empty if they do not.

    `pair` is as in run.json; None where nothing is known, as of a run with --control or of an older one.
    """
    if not pair or pair["verdict"] != DIFFERENT:
        return ""
    return f" But they compute different things, as --allow-different accepts: {explain_difference(pair)}."


def note_loss(pair: Mapping | None) -> list[str]:
    """Say in a sentence what placements that declare a loss agree in; none where no loss is declared."""
    if not pair or not pair["lossy"] or pair["verdict"] not in (LOSSY, SAME):
        return []
    apart = "; ".join(map(describe_output, pair["outputs"])) or "they have no output in common"
    how = "The answers differ, as declared" if pair["verdict"] == LOSSY else "A loss is declared, and the answers agree"
    return [f"{how} ({pair['lossy']}): {apart}."]


def refuse(reference: str, pair: Mapping) -> str:
    """Say in one line why the placements of a workload are not compared, and what to do."""
    return f"{reference}: {explain_difference(pair)}; {REMEDY}"
