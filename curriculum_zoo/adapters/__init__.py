"""Curricula in training loops that other libraries own; each module is an extra and needs the library it is for.

- `curriculum_zoo.adapters.lightning`: a callback for Lightning's ``Trainer``.
- `curriculum_zoo.adapters.transformers`: a callback for Transformers' ``Trainer``.
- `curriculum_zoo.adapters.timm_loader`: a loader for timm's training script, and for loops like it.

- `curriculum_zoo.adapters.sampler`: an index sampler for all of them and for plain PyTorch, of curricula that choose
  images.

The first three do what the three lines in plain PyTorch do (`Stage.applied_to`): while an epoch lasts, parts of the
network are frozen, training images go through the stage's view, after the random augmentation that goes with the stage,
and learning rates of parts are scaled; the optimiser starts afresh where the stage says so. Images are made smaller
once the loader has delivered them. What is drawn for an image follows from the curriculum's seed, the epoch and
the image's pixels, so that processes and resumed trainings agree.

Batches grow as images shrink (``scale_batch=true``) under Lightning and timm, whose loaders can change from epoch to
epoch; Transformers counts its steps beforehand. Processing levels are the network's business, which here another
library calls. What an adapter cannot do, it refuses when it is made.

What the training engine passes on to a curriculum from its recipe, these cannot know: one that minds drops of the
learning rate is given them when it is made, ``create_curriculum("trd", epochs=90, drops=(30, 60))``.
"""
