%% SPDX-License-Identifier: Apache-2.0
%% What the machine could do at best with a part of the work: only the frames, in C, only what the
%% two nodes do with the terms, or only TLS, in C; and how long it makes what is short.
-module(gen_rpc_bench_limits).

-export([frames/1, terms/2, records/2, handshakes/3, arithmetic/1]).

%% Header of a frame, bytes.
-define(HEAD, 16).

%% The largest record of TLS, bytes.
-define(RECORD, 16384).

%% Requests a second of two C programs over loopback with the sizes of our frames, 256 under way.
-spec frames(Ms :: pos_integer()) -> #{rate := float()}.
frames(Ms) ->
    Payload = payload(),
    Sizes = [?HEAD + iolist_size(request(Payload)), ?HEAD + iolist_size(reply(Payload))],
    Args = [integer_to_list(N) || N <- Sizes ++ [256, Ms]],
    [Rate] = numbers(gen_rpc_bench_os:run(program("frame_echo"), Args)),
    #{rate => Rate}.

%% Calls a second in one VM: encode, spawn, decode, apply, encode, send, decode.
-spec terms(Callers :: pos_integer(), Ms :: pos_integer()) -> #{rate := float()}.
terms(Callers, Ms) ->
    Payload = payload(),
    Calls = lists:duplicate(Callers, fun() -> call(Payload) end),
    {Seconds, Samples} = gen_rpc_bench_loop:closed(Calls, Ms, Payload),
    #{rate => length(Samples) / Seconds}.

%% MB a second of mbedTLS on one core, the slower of writing and reading since the two ends of a
%% connection have a core each; and CPU time of both for a MB, us.
-spec records(gen_rpc_bench_tls:t(), Ms :: pos_integer()) -> #{rate | cpu := float()}.
records(Tls, Ms) ->
    Args = gen_rpc_bench_tls:limit_args(Tls) ++ [integer_to_list(N) || N <- [Ms, ?RECORD]],
    Rates = numbers(gen_rpc_bench_os:run(program("tls_limit"), ["records" | Args])),
    #{rate => lists:min(Rates), cpu => lists:sum([1.0e6 / Rate || Rate <- Rates])}.

%% Handshakes a second of mbedTLS on all cores, each doing both sides.
-spec handshakes(full | resumed, gen_rpc_bench_tls:t(), Ms :: pos_integer()) -> #{rate := float()}.
handshakes(Kind, Tls, Ms) ->
    Args = [atom_to_list(Kind) | gen_rpc_bench_tls:limit_args(Tls)] ++ [integer_to_list(Ms)],
    Cores = erlang:system_info(logical_processors_available),
    Outputs = gen_rpc_bench_os:runs(Cores, program("tls_limit"), Args),
    #{rate => lists:sum([1.0e6 / lists:sum(numbers(Output)) || Output <- Outputs])}.

%% Of pieces of arithmetic of some 40 us what gen_rpc_bench_callbacks has of callbacks.
-spec arithmetic(Ms :: pos_integer()) -> gen_rpc_bench_callbacks:figures().
arithmetic(Ms) ->
    Times = gen_rpc_bench_os:run(program("arithmetic"), [integer_to_list(Ms)]),
    gen_rpc_bench_callbacks:figures(numbers(Times)).

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

request(Payload) -> gen_rpc_codec:encode(gen_rpc_bench_target, echo, [Payload]).

reply(Payload) -> gen_rpc_result:encode({return, Payload}).

program(Name) ->
    filename:join(filename:dirname(code:which(?MODULE)), Name).

numbers(Output) ->
    [binary_to_float(Number) || Number <- re:split(string:trim(Output), "\\s+")].
