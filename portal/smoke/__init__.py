"""The whole product under load for a few minutes, then an audit of its books.

::

    stage.py    a private installation in a folder of its own, and the run inside it
    world.py    its small world: one pool, every class, and two witnesses who always stay within their base
    witness.py  sends as the witnesses: whoever refuses them breaks a promise
    run.py      inside: make the world, send, wait until all is quiet, look
    books.py    what is read afterwards, from the database and from the counters
    checks.py   pure: from those figures to a list of checks
    report.py   prints them
"""
