"""From a bare machine to a public service, and back.

``steps`` says what is to be done (pure), ``actions`` does one thing and can tell whether it is done already, ``runner``
walks through the steps and keeps a record, from which ``uninstall`` takes everything away again.
"""
