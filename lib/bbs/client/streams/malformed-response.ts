/** Bytes that are no HTTP response, or one beyond the limits. */
export class MalformedResponse extends Error {
  override readonly name = 'MalformedResponse';
}
