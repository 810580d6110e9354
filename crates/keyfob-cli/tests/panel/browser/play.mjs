// Plays one scene: reads the world from the standard input, ends with 1 if a step fails.
import { readFileSync } from "node:fs";
import { Stage } from "./stage.mjs";

const world = JSON.parse(readFileSync(0, "utf8"));
const stage = await Stage.open(world);
try {
  const { default: scene } = await import(`./scenes/${world.scene}.mjs`);
  await scene(stage);
  stage.check();
} catch (error) {
  await stage.mourn();
  console.error(error);
  process.exitCode = 1;
} finally {
  await stage.close();
}
