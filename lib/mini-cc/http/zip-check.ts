import yauzl from 'yauzl';

/** The file is no zip, is empty, or has entries that would be unpacked outside of their directory. */
export class InvalidZipError extends Error {}

/**
 * Reads a zip's directory without unpacking anything.
 * @throws InvalidZipError
 */
export function checkZip(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: Error) => reject(new InvalidZipError(error.message, { cause: error }));
    yauzl.open(path, { lazyEntries: true, autoClose: true }, (openError, zip) => {
      if (openError) return refuse(openError);
      if (zip.entryCount === 0) {
        zip.close();
        return refuse(new Error('the archive is empty'));
      }
      zip.on('error', refuse);
      zip.on('entry', () => zip.readEntry());
      zip.on('end', () => resolve());
      zip.readEntry();
    });
  });
}
