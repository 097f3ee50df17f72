/** What a promise rejects with. @throws when it resolves */
export async function rejectionOf(promise: Promise<unknown>): Promise<Error> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error(`it did not fail, and gave ${JSON.stringify(value)}`);
}
