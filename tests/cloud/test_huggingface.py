"""Teachers from local folders: the real code of `transformers` on small models with random weights, made here."""

import json
import sys

import numpy as np
import pytest
import torch

from cloud.errors import TeacherError
from cloud.teachers import Exemplar, open_teacher

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
CHIP = Exemplar(
    np.random.default_rng(2).integers(0, 255, (40, 48, 3), dtype=np.uint8), np.array([8, 8, 40, 32], np.float32)
)
FRAME = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


def pil(name):
    """The image processor that does without torchvision."""
    return getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)


@pytest.fixture(autouse=True)
def _same_weights(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)


def told(folder, **settings):
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"labels": ["Car", "Boat"], **settings}.items()]
    (folder / "big.toml").write_text("\n".join(lines))
    return open_teacher(str(folder / "big.toml"))


def say_processor(folder, kind):
    """Name an image processor as published folders do; the library's own class of that name needs torchvision."""
    look = {"image_mean": [0.43, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143], "rescale_factor": 1 / 255}
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **look}))


def save_backbone(kind, folder):
    config = getattr(transformers, f"{kind}Config")
    sides = {"image_size": 64, "patch_size": 16}
    more = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    model = getattr(transformers, f"{kind}Model")(config(**SMALL, **sides, **(more if kind == "ViTMAE" else {})))
    model.save_pretrained(folder)
    pil("ViTImageProcessor")(size={"height": 64, "width": 64}).save_pretrained(folder)
    return model.eval()


def save_owl(folder):
    folder.mkdir()
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
    words = {word: number for number, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokens = {"bos_token_id": words["<|startoftext|>"], "eos_token_id": words["<|endoftext|>"], "pad_token_id": 0}
    text = {**SMALL, **tokens, "vocab_size": len(words), "max_position_embeddings": 16}
    config = transformers.Owlv2Config(
        text_config=text, vision_config={**SMALL, "image_size": 64, "patch_size": 16}, projection_dim=32
    )
    transformers.Owlv2ForObjectDetection(config).save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    images = pil("Owlv2ImageProcessor")(size={"height": 64, "width": 64})
    transformers.Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


def save_grounding_dino(folder):
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "car", "a", "boat", ".", "?"]
    (folder / "vocab.txt").write_text("\n".join(words))
    swin = transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, image_size=64,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = transformers.BertConfig(**SMALL, vocab_size=len(words), max_position_embeddings=64)
    config = transformers.GroundingDinoConfig(
        backbone_config=swin, text_config=text, d_model=32, num_queries=10, max_text_len=32,
        encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32,
    )  # fmt: skip
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = pil("GroundingDinoImageProcessor")(size={"shortest_edge": 64, "longest_edge": 128})
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    transformers.GroundingDinoProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


def save_sam(folder):
    sides = {"image_size": 64, "patch_size": 16}
    vision = transformers.SamVisionConfig(
        **sides, hidden_size=32, output_channels=16, num_hidden_layers=1, num_attention_heads=2, mlp_dim=32,
        window_size=2, global_attn_indexes=[0], num_pos_feats=8,
    )  # fmt: skip
    prompts = transformers.SamPromptEncoderConfig(**sides, hidden_size=16, mask_input_channels=4)
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    transformers.SamModel(config).save_pretrained(folder)
    images = pil("SamImageProcessor")(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 32}, mask_pad_size={"height": 32, "width": 32},
    )  # fmt: skip
    transformers.SamProcessor(images).save_pretrained(folder)


def save_sam2(folder):
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8, image_size=[64, 64], blocks_per_stage=[1, 2, 1, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[4] * 4, global_attention_blocks=[2],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    prompts = transformers.Sam2PromptEncoderConfig(hidden_size=16, image_size=64, patch_size=16, mask_input_channels=4)
    decoder = transformers.Sam2MaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = transformers.Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    transformers.Sam2Model(config).save_pretrained(folder)
    say_processor(folder, "Sam2ImageProcessorFast")


@pytest.mark.parametrize("kind", ["Dinov2", "DINOv3ViT", "ViTMAE"])
def test_features_stand_where_their_patches_are(tmp_path, kind):
    save_backbone(kind, tmp_path / "vit")
    teacher = told(tmp_path, features="vit")
    half = np.full((64, 64, 3), 40, np.uint8)
    half[:, 32:] = 220
    first, second = teacher.dense_features([half, half])
    assert first.shape == (32, 4, 4)
    assert np.allclose(first, second, atol=1e-5)  # nothing is hidden or shuffled
    assert np.abs(first[:, 1, 0] - first[:, 1, 3]).max() > 1e-3
    assert teacher.interpret([half])[0].labels == ()


def test_features_of_any_size_come_in_whole_patches(tmp_path):
    save_backbone("DINOv3ViT", tmp_path / "vit")
    assert told(tmp_path, features="vit").dense_features([FRAME]).shape == (1, 32, 3, 5)


def test_features_are_those_of_the_model_behind_its_own_image_processor(tmp_path):
    model = save_backbone("Dinov2", tmp_path / "vit")
    frame = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    inputs = pil("ViTImageProcessor").from_pretrained(tmp_path / "vit")(images=frame[..., ::-1], return_tensors="pt")
    with torch.no_grad():
        tokens = model(**inputs).last_hidden_state[0, 1:].numpy()
    (features,) = told(tmp_path, features="vit").dense_features([frame])
    assert np.abs(features - tokens.T.reshape(-1, 4, 4)).max() < 1e-4


def test_space_is_that_of_the_weights_whatever_the_folder_is_called(tmp_path):
    spaces = []
    for name in ("vit", "moved", "other"):
        torch.manual_seed(name == "other")
        save_backbone("Dinov2", tmp_path / name)
        spaces.append(told(tmp_path, features=name).space)
    assert spaces[0] == spaces[1] != spaces[2]
    assert len(spaces[0]) == 32


def test_published_dinov3_folder_opens_without_torchvision(tmp_path):
    save_backbone("DINOv3ViT", tmp_path / "vit")
    say_processor(tmp_path / "vit", "DINOv3ViTImageProcessorFast")
    assert told(tmp_path, features="vit").dense_features([FRAME]).shape == (1, 32, 3, 5)


@pytest.mark.parametrize(
    ("look", "problem"),
    [
        pytest.param({}, "image_mean is None, three numbers wanted", id="nothing"),
        pytest.param({"image_mean": [0, 0, 0], "image_std": [1, 1]}, r"image_std is \[1, 1\], three", id="two-bands"),
        pytest.param(
            {"image_mean": [0, 0, 0], "image_std": [1, 0, 1]}, "image_std is .*, numbers above 0 wanted", id="no-spread"
        ),
    ],
)
def test_folder_that_does_not_say_how_images_are_made_is_named(tmp_path, look, problem):
    save_backbone("Dinov2", tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(look))
    with pytest.raises(TeacherError, match=rf"vit: preprocessor_config\.json: {problem}"):
        told(tmp_path, features="vit")


@pytest.mark.parametrize("save", [save_owl, save_grounding_dino])
def test_detectors_find_what_they_are_asked_for(tmp_path, save):
    save(tmp_path / "detector")
    teacher = told(tmp_path, detector="detector", score_floor=0.0)
    (answer,) = teacher.interpret([FRAME])
    assert len(answer.labels) > 3
    assert set(answer.labels) <= {"Car", "Boat"}
    assert (np.diff(answer.scores) <= 0).all()
    assert answer.boxes_xyxy.min() >= 0
    assert (answer.boxes_xyxy.max(axis=0) <= [80, 48, 80, 48]).all()


def test_floor_keeps_weak_finds_out(tmp_path):
    save_owl(tmp_path / "detector")
    every, strong = (
        told(tmp_path, detector="detector", score_floor=floor).interpret([FRAME])[0].scores for floor in (0.0, 0.9)
    )
    assert strong.tolist() == [score for score in every.tolist() if score > 0.9]
    assert 0 < len(strong) < len(every)


@pytest.mark.parametrize(("kind", "depth"), [("Dinov2", 32), ("ResNet", 16)])
def test_folder_of_a_bare_backbone_has_features(tmp_path, kind, depth):
    settings = {
        "Dinov2": {**SMALL, "image_size": 64, "patch_size": 16},
        "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    }[kind]
    config = getattr(transformers, f"{kind}Config")(**settings, out_features=["stage1"])
    if kind == "ResNet":
        config = transformers.ResNetConfig(**settings, out_features=["stage1", "stage2"])
    getattr(transformers, f"{kind}Backbone")(config).save_pretrained(tmp_path / "backbone")
    pil("ViTImageProcessor")(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "backbone")
    features = told(tmp_path, features="backbone").dense_features([FRAME[:, :64]])
    assert features.shape[:2] == (1, depth)
    assert np.ptp(features, axis=(2, 3)).max() > 1e-3


def test_owl_is_shown_the_thing_and_says_how_alike_each_place_is(tmp_path):
    save_owl(tmp_path / "detector")
    teacher = told(tmp_path, detector="detector")
    (one,), (both,) = teacher.find([CHIP], [FRAME]), teacher.find([CHIP, CHIP], [FRAME])
    assert 0 < len(one.scores) < 16
    assert (one.boxes_xyxy.max(axis=0) <= [80, 48, 80, 48]).all()
    np.testing.assert_allclose(both.scores, one.scores, atol=1e-6)
    model = transformers.Owlv2ForObjectDetection.from_pretrained(tmp_path / "detector").eval()
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "detector")
    query = CHIP.image[5:35, 4:44, ::-1]  # a tenth of the box's sides around it
    inputs = processor(images=[FRAME[..., ::-1]], query_images=[query], return_tensors="pt")
    with torch.no_grad():
        told_scores = model.image_guided_detection(**inputs).logits.sigmoid().numpy()
    assert np.abs(told_scores.reshape(-1, 1) - one.scores).min(axis=0).max() < 1e-5


def test_features_find_where_the_detector_cannot_be_shown_a_picture(tmp_path):
    save_backbone("Dinov2", tmp_path / "vit")
    save_grounding_dino(tmp_path / "dino")
    (places,) = told(tmp_path, features="vit", detector="dino").find([CHIP], [FRAME])
    assert len(places.scores) > 0
    with pytest.raises(TeacherError, match="cannot look for exemplars; name a folder as features"):
        told(tmp_path, detector="dino").find([CHIP], [FRAME])


@pytest.mark.parametrize("save", [save_sam, save_sam2])
def test_every_box_has_its_mask(tmp_path, save):
    save(tmp_path / "sam")
    teacher = told(tmp_path, masks="sam")
    masks = teacher.masks(FRAME, np.array([[2, 3, 30, 40], [10, 10, 20, 20]], np.float32))
    assert (masks.shape, masks.dtype) == ((2, 48, 80), np.dtype(bool))
    assert teacher.masks(FRAME, np.zeros((0, 4), np.float32)).shape == (0, 48, 80)


def test_answer_has_a_mask_for_each_box_where_there_is_a_segmenter(tmp_path):
    save_sam(tmp_path / "sam")
    save_grounding_dino(tmp_path / "dino")
    (answer,) = told(tmp_path, detector="dino", masks="sam").interpret([FRAME])
    assert len(answer.labels) > 0
    assert answer.masks.shape == (len(answer.labels), 48, 80)
    (bare,) = told(tmp_path, detector="dino").interpret([FRAME])
    assert bare.masks is None


def test_sam2_is_asked_about_the_box_where_it_sees_it(tmp_path):
    save_sam2(tmp_path / "sam")
    frame = np.full((32, 128, 3), (123, 50, 200), np.uint8)  # one colour: stretching makes no difference to it
    (mask,) = told(tmp_path, masks="sam").masks(frame, np.array([[64, 8, 128, 24]], np.float32))
    model = transformers.Sam2Model.from_pretrained(tmp_path / "sam").eval()
    look = (torch.tensor([200, 50, 123]) / 255 - torch.tensor([0.43, 0.411, 0.296])) / torch.tensor(
        [0.213, 0.156, 0.143]
    )
    seen = {"pixel_values": look[None, :, None, None].expand(1, 3, 64, 64)}
    seen["input_boxes"] = torch.tensor([[[32.0, 16.0, 64.0, 48.0]]])
    with torch.no_grad():
        logits = model(**seen, multimask_output=False).pred_masks[0]
    expected = torch.nn.functional.interpolate(logits, (32, 128), mode="bilinear")[0, 0].numpy()
    assert 0 < mask.mean() < 1
    assert (mask == (expected > 0))[np.abs(expected) > 1e-4].all()


def test_what_it_was_not_given_it_names(tmp_path):
    teacher = told(tmp_path)
    with pytest.raises(TeacherError, match=r'has no features; name a folder as features = "\.\.\."'):
        teacher.dense_features([FRAME])
    with pytest.raises(TeacherError, match="has no masks"):
        teacher.masks(FRAME, np.zeros((1, 4), np.float32))


def test_folder_that_lacks_a_file_is_named(tmp_path):
    with pytest.raises(TeacherError, match=r"gone: holds no config\.json; save a model there"):
        told(tmp_path, detector="gone")
    save_backbone("Dinov2", tmp_path / "vit")
    (tmp_path / "vit" / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match=r"vit: AutoModel does not load .*; save the model there again"):
        told(tmp_path, features="vit")


@pytest.mark.parametrize(("name", "what"), [("config.json", "config.json"), ("model.safetensors", "AutoModel")])
def test_file_that_was_cut_is_named(tmp_path, name, what):
    save_backbone("Dinov2", tmp_path / "vit")
    path = tmp_path / "vit" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TeacherError, match=rf"vit: {what} does not load .*; save the model there again") as caught:
        told(tmp_path, features="vit")
    assert "\n" not in str(caught.value)


def test_missing_library_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(TeacherError, match=r"needs torch and transformers .* pip install .*huggingface"):
        told(tmp_path)
