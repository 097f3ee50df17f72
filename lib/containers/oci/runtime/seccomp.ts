import profile from './seccomp.json' with { type: 'json' };

/** A system call filter in the shape of the OCI runtime specification (`linux.seccomp`). */
export interface SeccompProfile {
  defaultAction: string;
  architectures: string[];
  syscalls: unknown[];
}

/** Each machine's own calls and those of the older instruction sets that its kernel also runs. */
const architecturesOf: Partial<Record<NodeJS.Architecture, string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

/**
 * The filter that every process of an unprivileged container runs under: an allow list, everything else fails with
 * EPERM. `clone3` fails with ENOSYS, so that the C library falls back to `clone`, whose flags a filter can see
 * (docs/protocol/containers.md §3.2 and its appendix).
 */
export function seccompProfile(architecture: NodeJS.Architecture = process.arch): SeccompProfile {
  return { ...profile, architectures: architecturesOf[architecture] ?? [] };
}
