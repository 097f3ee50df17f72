import { createHmac, timingSafeEqual } from 'node:crypto';

const macBytes = 32;

/** `MAC || message`: 32 bytes of HMAC-SHA256 under the shared secret stand in front (docs/protocol/edge.md §5.1). */
export function sign(message: Buffer, sharedSecret: string): Buffer {
  return Buffer.concat([mac(message, sharedSecret), message]);
}

/**
 * The message of a signed datagram; undefined when the signature is missing or not of this secret. Takes the same time
 * whatever differs.
 */
export function verified(datagram: Buffer, sharedSecret: string): Buffer | undefined {
  if (datagram.length < macBytes) return undefined;
  const message = datagram.subarray(macBytes);
  return timingSafeEqual(datagram.subarray(0, macBytes), mac(message, sharedSecret)) ? message : undefined;
}

function mac(message: Buffer, sharedSecret: string): Buffer {
  return createHmac('sha256', sharedSecret).update(message).digest();
}
