/**
 * The messages on the wire with their field numbers (docs/protocol/containers.md §1.2, §1.3). What a process may have
 * written, or a client may have put into a script, is declared as bytes: on the wire that is the same as a string, and
 * nothing re-encodes it.
 */
export const wardenProto = `
syntax = "proto2";
package warden;

message Message {
  enum Type {
    Error = 1;
    Create = 11; Stop = 12; Destroy = 13; Info = 14;
    Spawn = 21; Link = 22; Run = 23; Stream = 24;
    NetIn = 31; NetOut = 32;
    CopyIn = 41; CopyOut = 42;
    LimitMemory = 51; LimitDisk = 52; LimitBandwidth = 53; LimitCpu = 54;
    Ping = 91; List = 92; Echo = 93;
  }
  required Type type = 1;
  required bytes payload = 2;
}

message ErrorResponse { optional string message = 2; repeated string backtrace = 3; optional string data = 4; }

message CreateRequest {
  message BindMount {
    enum Mode { RO = 0; RW = 1; }
    required string src_path = 1;
    required string dst_path = 2;
    required Mode mode = 3;
  }
  repeated BindMount bind_mounts = 1;
  optional uint32 grace_time = 2;
  optional string handle = 3;
  optional string network = 4;
  optional string rootfs = 5;
}
message CreateResponse { required string handle = 1; }

message StopRequest { required string handle = 1; optional bool background = 10; optional bool kill = 20; }
message StopResponse {}

message DestroyRequest { required string handle = 1; }
message DestroyResponse {}

message InfoRequest { required string handle = 1; }
message InfoResponse {
  message MemoryStat {
    optional uint64 cache = 1;
    optional uint64 rss = 2;
    optional uint64 mapped_file = 3;
    optional uint64 pgpgin = 4;
    optional uint64 pgpgout = 5;
    optional uint64 swap = 6;
    optional uint64 pgfault = 7;
    optional uint64 pgmajfault = 8;
    optional uint64 inactive_anon = 9;
    optional uint64 active_anon = 10;
    optional uint64 inactive_file = 11;
    optional uint64 active_file = 12;
    optional uint64 unevictable = 13;
    optional uint64 hierarchical_memory_limit = 14;
    optional uint64 hierarchical_memsw_limit = 15;
    optional uint64 total_cache = 16;
    optional uint64 total_rss = 17;
    optional uint64 total_mapped_file = 18;
    optional uint64 total_pgpgin = 19;
    optional uint64 total_pgpgout = 20;
    optional uint64 total_swap = 21;
    optional uint64 total_pgfault = 22;
    optional uint64 total_pgmajfault = 23;
    optional uint64 total_inactive_anon = 24;
    optional uint64 total_active_anon = 25;
    optional uint64 total_inactive_file = 26;
    optional uint64 total_active_file = 27;
    optional uint64 total_unevictable = 28;
  }
  message CpuStat { optional uint64 usage = 1; optional uint64 user = 2; optional uint64 system = 3; }
  message DiskStat { optional uint64 bytes_used = 1; optional uint64 inodes_used = 2; }
  message BandwidthStat {
    optional uint64 in_rate = 1;
    optional uint64 in_burst = 2;
    optional uint64 out_rate = 3;
    optional uint64 out_burst = 4;
  }
  optional string state = 10;
  repeated string events = 20;
  optional string host_ip = 30;
  optional string container_ip = 31;
  optional string container_path = 32;
  optional MemoryStat memory_stat = 40;
  optional CpuStat cpu_stat = 41;
  optional DiskStat disk_stat = 42;
  optional BandwidthStat bandwidth_stat = 43;
  repeated uint64 job_ids = 44 [packed = false];
}

message ResourceLimits {
  optional uint64 as = 1;
  optional uint64 core = 2;
  optional uint64 cpu = 3;
  optional uint64 data = 4;
  optional uint64 fsize = 5;
  optional uint64 locks = 6;
  optional uint64 memlock = 7;
  optional uint64 msgqueue = 8;
  optional uint64 nice = 9;
  optional uint64 nofile = 10;
  optional uint64 nproc = 11;
  optional uint64 rss = 12;
  optional uint64 rtprio = 13;
  optional uint64 sigpending = 14;
  optional uint64 stack = 15;
}

message SpawnRequest {
  required string handle = 1;
  required bytes script = 2;
  optional bool privileged = 3;
  optional ResourceLimits rlimits = 4;
  optional bool discard_output = 5;
  optional string log_tag = 6;
}
message SpawnResponse { required uint32 job_id = 1; }

message LinkRequest { required string handle = 1; required uint32 job_id = 2; }
message LinkResponse {
  optional uint32 exit_status = 1;
  optional bytes stdout = 2;
  optional bytes stderr = 3;
  optional InfoResponse info = 4;
}

message RunRequest {
  required string handle = 1;
  required bytes script = 2;
  optional bool privileged = 3;
  optional ResourceLimits rlimits = 4;
  optional bool discard_output = 5;
  optional string log_tag = 6;
}
message RunResponse {
  optional uint32 exit_status = 1;
  optional bytes stdout = 2;
  optional bytes stderr = 3;
  optional InfoResponse info = 4;
}

message StreamRequest { required string handle = 1; required uint32 job_id = 2; }
message StreamResponse {
  optional string name = 1;
  optional bytes data = 2;
  optional uint32 exit_status = 3;
  optional InfoResponse info = 4;
}

message NetInRequest { required string handle = 1; optional uint32 container_port = 2; optional uint32 host_port = 3; }
message NetInResponse { required uint32 host_port = 1; required uint32 container_port = 2; }

message NetOutRequest {
  enum Protocol { TCP = 0; UDP = 1; ICMP = 2; ALL = 3; }
  required string handle = 1;
  optional string network = 2;
  optional uint32 port = 3;
  optional string port_range = 4;
  optional Protocol protocol = 5;
  optional int32 icmp_type = 6;
  optional int32 icmp_code = 7;
  optional bool log = 8;
}
message NetOutResponse {}

message CopyInRequest { required string handle = 1; required string src_path = 2; required string dst_path = 3; }
message CopyInResponse {}

message CopyOutRequest {
  required string handle = 1;
  required string src_path = 2;
  required string dst_path = 3;
  optional string owner = 4;
}
message CopyOutResponse {}

message LimitMemoryRequest { required string handle = 1; optional uint64 limit_in_bytes = 2; }
message LimitMemoryResponse { optional uint64 limit_in_bytes = 1; }

message LimitDiskRequest {
  required string handle = 1;
  optional uint64 block_limit = 10;
  optional uint64 block = 11;
  optional uint64 block_soft = 12;
  optional uint64 block_hard = 13;
  optional uint64 inode_limit = 20;
  optional uint64 inode = 21;
  optional uint64 inode_soft = 22;
  optional uint64 inode_hard = 23;
  optional uint64 byte_limit = 30;
  optional uint64 byte = 31;
  optional uint64 byte_soft = 32;
  optional uint64 byte_hard = 33;
}
message LimitDiskResponse {
  optional uint64 block_limit = 10;
  optional uint64 block = 11;
  optional uint64 block_soft = 12;
  optional uint64 block_hard = 13;
  optional uint64 inode_limit = 20;
  optional uint64 inode = 21;
  optional uint64 inode_soft = 22;
  optional uint64 inode_hard = 23;
  optional uint64 byte_limit = 30;
  optional uint64 byte = 31;
  optional uint64 byte_soft = 32;
  optional uint64 byte_hard = 33;
}

message LimitBandwidthRequest { required string handle = 1; required uint64 rate = 2; required uint64 burst = 3; }
message LimitBandwidthResponse { required uint64 rate = 1; required uint64 burst = 2; }

message LimitCpuRequest { required string handle = 1; optional uint64 limit_in_shares = 2; }
message LimitCpuResponse { optional uint64 limit_in_shares = 1; }

message PingRequest {}
message PingResponse {}

message ListRequest {}
message ListResponse { repeated string handles = 1; }

message EchoRequest { required bytes message = 1; }
message EchoResponse { required bytes message = 1; }
`;
