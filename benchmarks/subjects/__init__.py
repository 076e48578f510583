"""What is measured: each subject is a process of its own that does work when it is told to.

Separate processes, so that the background threads of one do not take the interpreter from another.
"""
