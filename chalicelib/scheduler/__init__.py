"""Cinder's scheduler without a process: pure functions over plain data, no I/O.

``pools`` and ``reports`` read what backends say, ``request_spec`` what is asked, ``config`` how to judge it;
``filter_scheduler`` decides by ``filters`` and ``weighers``, and a ``decision`` tells why.
"""
