"""A load generator: it knows due times, bytes and outcomes, and no experiment, comparison or report."""
