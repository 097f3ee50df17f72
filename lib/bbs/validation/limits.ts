/** docs/protocol/bbs.md §4. Lengths are those of the UTF-8 text, in bytes. */
export const maximumAnnotationBytes = 10_240;
/** Of all values together. */
export const maximumRoutesBytes = 131_072;
/** Of all contents together. */
export const maximumMountedFilesBytes = 1_048_576;

const guidPattern = /^[a-zA-Z0-9_-]+$/;

/** Whether it may be the guid of a task or of a process that is desired. */
export function isGuid(text: string): boolean {
  return guidPattern.test(text);
}
