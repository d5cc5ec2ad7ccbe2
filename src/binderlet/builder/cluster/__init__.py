"""Builds in a Kubernetes cluster: builder pods, the one that builds a repository, and what is said to it."""
