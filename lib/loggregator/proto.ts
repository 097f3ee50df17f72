/** Dropsonde's messages on the wire, as far as an agent sends them (docs/protocol/edge.md §5.1). */
export const dropsondeProto = `
syntax = "proto2";
package events;

message Envelope {
  enum EventType { LogMessage = 5; ValueMetric = 6; CounterEvent = 7; ContainerMetric = 9; }
  required string origin = 1;
  required EventType eventType = 2;
  optional int64 timestamp = 6;
  optional LogMessage logMessage = 8;
  optional ValueMetric valueMetric = 9;
  optional CounterEvent counterEvent = 10;
  optional ContainerMetric containerMetric = 12;
  map<string, string> tags = 17;
}

message LogMessage {
  enum MessageType { OUT = 1; ERR = 2; }
  required bytes message = 1;
  required MessageType message_type = 2;
  required int64 timestamp = 3;
  optional string app_id = 4;
  optional string source_type = 5;
  optional string source_instance = 6;
}

message ValueMetric { required string name = 1; required double value = 2; required string unit = 3; }

message CounterEvent { required string name = 1; required uint64 delta = 2; }

message ContainerMetric {
  required string applicationId = 1;
  required int32 instanceIndex = 2;
  required double cpuPercentage = 3;
  required uint64 memoryBytes = 4;
  required uint64 diskBytes = 5;
}
`;
