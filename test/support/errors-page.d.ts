/** docs/errors.md as it must be. */
export function errorsPage(): string;
