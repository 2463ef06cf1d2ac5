"""The only conversions between the core's types and protobuf or table rows."""
