#!/usr/bin/env python3
"""The official `openai` package against `hone serve`: whole and streamed answers agree, and are made again by their seed."""
import argparse
import concurrent.futures
import math

import openai

import server


def check(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"ok: {what}")


def completions(client):
    request = dict(model="served", prompt="The capital of France is", max_tokens=24, n=3, temperature=0.9, seed=7, logprobs=3)
    whole = client.completions.create(**request)
    check([choice.index for choice in whole.choices] == [0, 1, 2], "three choices")
    check(len({choice.text for choice in whole.choices}) > 1, "samples differ")
    check(whole.usage.completion_tokens == sum(len(choice.logprobs.tokens) for choice in whole.choices), "usage counts the tokens")
    check(all(token <= 0 and math.isfinite(token) for choice in whole.choices for token in choice.logprobs.token_logprobs), "log-probs")
    texts = [""] * 3
    for chunk in client.completions.create(**request, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    check(texts == [choice.text for choice in whole.choices], "a stream says the same")
    unseeded = client.completions.create(model="served", prompt="Once", max_tokens=12)
    again = client.completions.create(model="served", prompt="Once", max_tokens=12, seed=unseeded.model_extra["seed"])
    check(again.choices[0].text == unseeded.choices[0].text, "the seed that a response names makes it again")


def chats(client):
    messages = [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "Say hello in one sentence."}]
    request = dict(model="served", messages=messages, max_completion_tokens=40, seed=3, temperature=0, logprobs=True, top_logprobs=2)
    whole = client.chat.completions.create(**request)
    choice = whole.choices[0]
    check(choice.message.role == "assistant" and len(choice.message.content) > 0, "a chat's answer")
    check(all(token.top_logprobs[0].logprob == token.logprob for token in choice.logprobs.content), "greedy tokens are the likeliest")
    text, usage = "", None
    for chunk in client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    check(text == choice.message.content, "a chat's stream says the same")
    check(usage.completion_tokens == whole.usage.completion_tokens, "a stream's usage")
    stopped = client.chat.completions.create(model="served", messages=messages, max_completion_tokens=40, temperature=0, stop=[choice.message.content[5:8]])
    check(stopped.choices[0].message.content == choice.message.content[:choice.message.content.index(choice.message.content[5:8])], "a stop string ends the text")


def company(client):
    def answer(i):
        return client.completions.create(model="served", prompt=f"Number {i} is", max_tokens=16, seed=i).choices[0].text

    alone = [answer(i) for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        check(list(pool.map(answer, range(12))) == alone, "twelve requests at once are answered as one by one")


def errors(client):
    for what, error, request in (("a field out of range", openai.BadRequestError, {"temperature": -1.0}),
                                 ("another model", openai.NotFoundError, {"model": "gpt-4"}),
                                 ("a prompt beyond the context", openai.BadRequestError, {"prompt": "word " * 9000})):
        try:
            client.completions.create(**({"model": "served", "prompt": "x", "max_tokens": 1} | request))
        except error as caught:
            check(caught.body["message"], f"{what}: {caught.body['message']}")
        else:
            raise AssertionError(f"{what} was accepted")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hone", required=True)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    with server.serve(args.hone, args.model) as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        check([model.id for model in client.models.list()] == ["served"], "the model is listed")
        completions(client)
        chats(client)
        company(client)
        errors(client)


if __name__ == "__main__":
    main()
