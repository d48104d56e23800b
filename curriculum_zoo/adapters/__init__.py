"""Curricula in training loops that other libraries own; each module is an extra and needs the library it is for.

- `curriculum_zoo.adapters.lightning`: a callback for Lightning's ``Trainer``.
- `curriculum_zoo.adapters.transformers`: a callback for Transformers' ``Trainer``.
- `curriculum_zoo.adapters.timm_loader`: a loader for timm's training script, and for loops like it.

All three do what the three lines in plain PyTorch do (`Stage.applied_to`): parts of the network are frozen while an
epoch lasts, training images go through the stage's view, after the random augmentation that goes with the stage, and
the optimiser starts afresh where the stage says so. Images are made smaller when the loader has delivered them, so no
loader is ever rebuilt, nor told of a resolution.

What the training engine tells a curriculum of its recipe, these cannot know: one that minds drops of the learning rate
is given them when it is made, ``create_curriculum("trd", epochs=90, drops=(30, 60))``.
"""
