"""The root helper of an installed machine: the few things that a control plane without root cannot do by itself.

``requests`` says which requests there are and what in them is right (pure), ``actions`` does them, ``server`` answers
on the socket. No request names a path or a program; whoever may use the socket gains these things and no others.
"""
