"""The orchestration plane: what happens inside one execution.

The engine reaches storage through `store.contract` only, and knows nothing of HTTP, of concrete
databases, or of the decorators that people write with.
"""
