/**
 * Locket's messages on the wire (docs/protocol/edge.md §6.1). Text is declared as bytes, which on the wire is the same:
 * the library would replace what is not UTF-8 without a word.
 */
export const locketProto = `
syntax = "proto3";
package models;

enum TypeCode { UNKNOWN = 0; LOCK = 1; PRESENCE = 2; }

message Resource {
  bytes key = 1;
  bytes owner = 2;
  bytes value = 3;
  bytes type = 4 [deprecated = true];
  TypeCode type_code = 5;
}

message LockRequest { Resource resource = 1; int64 ttl_in_seconds = 2; }
message LockResponse {}

message ReleaseRequest { Resource resource = 1; }
message ReleaseResponse {}

message FetchRequest { bytes key = 1; }
message FetchResponse { Resource resource = 1; }

message FetchAllRequest { bytes type = 1 [deprecated = true]; TypeCode type_code = 2; }
message FetchAllResponse { repeated Resource resources = 1; }
`;
