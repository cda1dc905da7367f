"""Answers requests that came together, so that a bad one fails alone, whatever it was merged with."""

import triton_python_backend_utils as pb
from messages import one_line


def answer_isolated(requests, accept, answer, refuse):
    """Return one response per request: from one run for all or, if that fails, from one run for each.

    `accept(request)` returns an input, `answer(inputs)` a list of responses. Either may raise; `refuse(error)` makes
    the response then. Requests that are not accepted are refused before the run, and the others still go together.
    """
    responses, accepted = [], []
    for index, request in enumerate(requests):
        try:
            accepted.append((index, accept(request)))
            responses.append(None)
        except Exception as error:
            responses.append(refuse(error))
    for index, response in _answer_together_or_alone(accepted, answer, refuse):
        responses[index] = response
    return responses


def _answer_together_or_alone(accepted, answer, refuse):
    """Return (index, response) pairs for (index, input) pairs: from one run, or from one run for each if that fails."""
    if len(accepted) > 1:
        try:
            answers = answer([each for _, each in accepted])
            return [(index, response) for (index, _), response in zip(accepted, answers, strict=True)]
        except Exception as error:
            pb.Logger.log_verbose(f"{len(accepted)} merged requests failed, each goes alone: {one_line(error)}")
    responses = []
    for index, each in accepted:
        try:
            responses.append((index, answer([each])[0]))
        except Exception as error:
            responses.append((index, refuse(error)))
    return responses
