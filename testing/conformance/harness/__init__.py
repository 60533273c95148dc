"""What the tests stand on: servers, a faulty proxy, clients, data and a model."""
