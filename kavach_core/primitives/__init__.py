"""Pure ground: grammar, ids, time, tokens. Nothing here awaits, opens or knows a capability."""
