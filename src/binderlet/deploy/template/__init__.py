"""Renders Helm's templates without Helm, as far as the chart uses their language: the chart is the only source."""
