"""A bad request fails alone, whatever it was merged with: what both twins do with the requests that come together."""

import triton_python_backend_utils as pb
from messages import one_line


def isolated(requests, accept, answer, refuse):
    """One response per request: all in one run, or, should that fail, one by one, so that only bad ones do.

    `accept(request)` gives what `answer(accepted)` takes a list of, and answers with a list of responses; each may
    raise, and `refuse(error)` makes the response then. What is not accepted is refused before, and the others still
    go together.
    """
    responses, good = [], []
    for index, request in enumerate(requests):
        try:
            good.append((index, accept(request)))
            responses.append(None)
        except Exception as error:
            responses.append(refuse(error))
    for index, response in _answered(good, answer, refuse):
        responses[index] = response
    return responses


def _answered(good, answer, refuse):
    if len(good) > 1:
        try:
            answers = answer([accepted for _, accepted in good])
            return [(index, response) for (index, _), response in zip(good, answers, strict=True)]
        except Exception as error:
            pb.Logger.log_verbose(f"{len(good)} merged requests failed, each goes alone: {one_line(error)}")
    found = []
    for index, accepted in good:
        try:
            found.append((index, answer([accepted])[0]))
        except Exception as error:
            found.append((index, refuse(error)))
    return found
