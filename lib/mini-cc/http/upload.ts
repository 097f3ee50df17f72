import type { Request, Response } from 'express';
import multer, { MulterError, type StorageEngine } from 'multer';
import { type Blobstore, BlobTooLargeError, type PendingBlob } from '../blobs/blobstore.js';

/** A form is malformed, lacks the file, or its file is too large or not what its checksum says. */
export class UploadRefusedError extends Error {}

export interface UploadOptions {
  blobs: Blobstore;
  /** Name of the form's field that has the file. */
  field: string;
  maximumBytes: number;
}

/**
 * Takes the one file of a multipart form to the disk while it arrives; text fields are left in `request.body`. A
 * request that is cut off leaves nothing behind.
 *
 * @throws UploadRefusedError, also when `Content-MD5` is given and wrong
 */
export async function receiveUpload(
  request: Request,
  response: Response,
  options: UploadOptions,
): Promise<PendingBlob> {
  const storage = new BlobStorage(options);
  try {
    await runMulter(request, response, storage, options.field);
  } catch (error) {
    await storage.discard();
    if (error instanceof BlobTooLargeError || error instanceof MulterError || isFormError(error)) {
      throw new UploadRefusedError((error as Error).message, { cause: error });
    }
    throw error;
  }
  const pending = await storage.receiving;
  if (!pending) throw new UploadRefusedError(`the form has no file ${options.field}`);
  const expected = request.get('Content-MD5');
  if (expected !== undefined && expected !== pending.md5) {
    await pending.discard();
    throw new UploadRefusedError('content md5 did not match');
  }
  return pending;
}

function runMulter(request: Request, response: Response, storage: StorageEngine, field: string): Promise<void> {
  const upload = multer({ storage, limits: { files: 1, fields: 10, fieldSize: 1024 * 1024 } }).single(field);
  return new Promise((resolve, reject) => {
    upload(request, response, (error: unknown) => (error === undefined ? resolve() : reject(error)));
  });
}

/** The form's parser has no error classes of its own. */
function isFormError(error: unknown): boolean {
  return error instanceof Error && /multipart|boundary|form|part header|aborted|content.type/i.test(error.message);
}

class BlobStorage implements StorageEngine {
  receiving: Promise<PendingBlob> | undefined;

  constructor(private readonly options: UploadOptions) {}

  /** Waits for what is still being written: the form's parser may give up before that. */
  async discard(): Promise<void> {
    const pending = await this.receiving?.catch(() => undefined);
    await pending?.discard();
  }

  _handleFile(
    _request: Request,
    file: Express.Multer.File,
    done: (error?: unknown, info?: Partial<Express.Multer.File>) => void,
  ): void {
    this.receiving = this.options.blobs.receive(file.stream, this.options.maximumBytes);
    this.receiving.then(({ path, bytes: size }) => done(null, { path, size }), done);
  }

  _removeFile(_request: Request, _file: Express.Multer.File, done: (error: Error | null) => void): void {
    this.discard().then(() => done(null), done);
  }
}
