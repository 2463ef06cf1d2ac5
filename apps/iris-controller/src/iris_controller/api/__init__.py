"""gRPC for people and their tools: requests become events, views become replies."""
