import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { RequestContent } from './transport.js';

/** A zip file as the one file of a multipart form, with text fields before it. */
export interface ZipForm {
  field: string;
  filename: string;
  path: string;
  texts?: Record<string, string>;
  /** Gets the bytes of the file that have been sent so far. */
  onProgress?: (sentBytes: number) => void;
}

/** The form with its length: servers in front of a Cloud Controller want to know that beforehand. */
export async function zipForm({ field, filename, path, texts = {}, onProgress }: ZipForm): Promise<RequestContent> {
  const { size } = await stat(path);
  const boundary = `isthmus-${randomUUID()}`;
  const part = (disposition: string) => `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n`;
  const fields = Object.entries(texts).map(([name, value]) => `${part(`name="${name}"`)}\r\n${value}\r\n`);
  const name = filename.replaceAll(/[^\w.-]/g, '_');
  const head = Buffer.from(
    `${fields.join('')}${part(`name="${field}"; filename="${name}"`)}Content-Type: application/zip\r\n\r\n`,
  );
  const foot = Buffer.from(`\r\n--${boundary}--\r\n`);
  async function* content(): AsyncGenerator<Buffer> {
    yield head;
    let sent = 0;
    for await (const chunk of createReadStream(path)) {
      yield chunk as Buffer;
      sent += (chunk as Buffer).length;
      onProgress?.(sent);
    }
    yield foot;
  }
  return {
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': String(head.length + size + foot.length),
    },
    body: Readable.from(content(), { objectMode: false }),
  };
}
