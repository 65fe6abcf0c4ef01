"""HTTP without a framework: operations as values, one dispatcher, one way to tell who is asking, one error body."""
