"""One room per capability. Inside a room: service -> policy, queries -> model. Between rooms: earlier ones only."""
