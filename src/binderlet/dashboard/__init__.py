"""Launches in numbers: counted from archives and this service's own history; series, pages, pictures, reports."""
