%% SPDX-License-Identifier: Apache-2.0
%% What the machine could do at best with either half of the work: only the frames, in C, or only
%% what the two nodes do with the terms.
-module(gen_rpc_bench_limits).

-export([frames/2, terms/2]).

%% Header of a frame, bytes.
-define(HEAD, 16).

%% Requests a second of two C programs over loopback with the sizes of our frames, 256 under way.
-spec frames(Program :: file:filename(), Ms :: pos_integer()) -> float().
frames(Program, Ms) ->
    Payload = payload(),
    Sizes = [?HEAD + iolist_size(request(Payload)), ?HEAD + iolist_size(reply(Payload))],
    Args = [integer_to_list(N) || N <- Sizes ++ [256, Ms]],
    Port = open_port({spawn_executable, Program}, [{args, Args}, exit_status, binary]),
    receive
        {Port, {data, Rate}} ->
            receive {Port, {exit_status, 0}} -> ok end,
            binary_to_float(string:trim(Rate));
        {Port, {exit_status, Status}} ->
            error({frame_echo, Status})
    end.

%% Calls a second in one VM: encode, spawn, decode, apply, encode, send, decode.
-spec terms(Callers :: pos_integer(), Ms :: pos_integer()) -> float().
terms(Callers, Ms) ->
    Payload = payload(),
    {Seconds, Samples} = gen_rpc_bench_load:closed_loop(Callers, Ms, fun() -> call(Payload) end,
                                                        Payload),
    length(Samples) / Seconds.

call(Payload) ->
    Caller = self(),
    Ref = make_ref(),
    %% Joined, as a driver does that delivers a frame in one piece.
    Request = iolist_to_binary(request(Payload)),
    _ = spawn(fun() -> serve(Caller, Ref, Request) end),
    receive {Ref, Reply} -> element(2, binary_to_term(Reply)) end.

serve(Caller, Ref, Request) ->
    {M, F, A} = binary_to_term(Request),
    Caller ! {Ref, iolist_to_binary(reply(apply(M, F, A)))}.

payload() -> rand:bytes(64).

request(Payload) -> term_to_iovec({gen_rpc_bench_target, echo, [Payload]}).

reply(Payload) -> term_to_iovec({0, Payload}).
