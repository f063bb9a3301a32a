// A power cut for SQLite: everything that was not synchronised is gone. A small library under every process that
// opens the file (power.c has the model) keeps aside what each fsync found. After all of them were killed the files
// are put back as a disk would have them. Linux only.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "./scratch.js";

const SHIM = fileURLToPath(new URL("./power.c", import.meta.url));
const FOLLOWED = ["", "-wal", "-journal"];

export class Power {
  private readonly file: string;
  private readonly shadow: string;
  /** What every process that opens the file must have in its environment. */
  readonly environment: Readonly<Record<string, string>>;

  /** The file must be at rest: as it stands it counts as being on the disk. */
  constructor(
    file: string,
    private readonly place = temporaryFolder(),
  ) {
    this.file = realpathSync(file);
    this.shadow = join(place.folder, "shadow");
    mkdirSync(this.shadow);
    const library = join(place.folder, "power.so");
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, SHIM]);
    this.environment = {
      LD_PRELOAD: library,
      POWER_FOLDER: dirname(this.file),
      POWER_SHADOW: realpathSync(this.shadow),
      POWER_ENDINGS: FOLLOWED.map((ending) => basename(this.file) + ending).join(":"),
    };
    this.copy(dirname(this.file), this.shadow);
  }

  /** The power went while no process was left: the files as they were synchronised, and no shared memory. */
  cut(): void {
    rmSync(`${this.file}-shm`, { force: true });
    this.copy(this.shadow, dirname(this.file));
    // A removal that was not synchronised is undone, and may become lasting later.
    for (const name of readdirSync(this.shadow)) {
      if (name.startsWith(".gone.")) rmSync(join(this.shadow, name));
    }
  }

  remove(): void {
    this.place.remove();
  }

  private copy(from: string, to: string): void {
    for (const ending of FOLLOWED) {
      const name = basename(this.file) + ending;
      rmSync(join(to, name), { force: true });
      if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
    }
  }
}
